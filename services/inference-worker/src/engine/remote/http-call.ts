import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest, Agent as SecureAgent } from "node:https";
import { EngineError } from "../engine.ts";

export interface CallTimeouts {
  connectMs: number;
  /** From sending the request to the first byte of the body: reading a long prompt takes its time. */
  firstByteMs: number;
  /** Between two bytes of the body. */
  idleMs: number;
}

export interface CallOptions {
  url: URL;
  body?: string;
  timeouts: CallTimeouts;
  connections: Agent;
  signal: AbortSignal;
}

export interface Call {
  status: number;
  contentType: string;
  /** Rejects with EngineError. Stops the call when not read on, unless `over` was called. */
  body: AsyncIterable<Uint8Array>;
  /** What matters is read: the rest is left to come by itself, for a moment, so that the connection can be kept. */
  over(): void;
}

const maxKept = 32;
const restMs = 1_000;

/** Kept connections to one server. Other than the global agent and fetch, it reads no proxy from the environment. `ca`: PEM. */
export function connectionsTo(url: URL, ca?: string): Agent {
  const kept = { keepAlive: true, maxFreeSockets: maxKept };
  return url.protocol === "https:" ? new SecureAgent({ ...kept, ca }) : new Agent(kept);
}

/** One HTTP exchange over Node's own client: it follows no redirect. Rejects with EngineError. */
export async function call(options: CallOptions): Promise<Call> {
  const { signal } = options;
  if (signal.aborted) throw cancelled();
  let request: ClientRequest | undefined;
  const watch = new Watch(() => request?.destroy());
  const abort = () => watch.breakOff(cancelled());
  signal.addEventListener("abort", abort, { once: true });
  const cleanUp = () => {
    watch.stop();
    signal.removeEventListener("abort", abort);
  };
  try {
    request = send(options, watch);
    const answer = await responseTo(request).catch((error: unknown) => {
      if (!request?.reusedSocket || watch.reason) throw error;
      // Mostly the server closed a kept connection just when it was used again. The others are as old: once more, on a new one.
      for (const socket of Object.values(options.connections.freeSockets).flat()) socket?.destroy();
      request = send(options, watch);
      return responseTo(request);
    });
    return asCall(answer, request, watch, options.timeouts, cleanUp);
  } catch (error) {
    cleanUp();
    request?.destroy();
    throw watch.reason ?? new EngineError("ENGINE_UNAVAILABLE", "the model server cannot be reached", error);
  }
}

function send({ url, body, timeouts, connections }: CallOptions, watch: Watch): ClientRequest {
  const secure = url.protocol === "https:";
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const request = (secure ? httpsRequest : httpRequest)(url, {
    method: body === undefined ? "GET" : "POST",
    agent: connections,
    headers: { ...headers, accept: "text/event-stream, application/json" },
  });
  watch.expect(timeouts.connectMs, "the model server does not take the connection", "ENGINE_UNAVAILABLE");
  request.on("socket", (socket) => {
    const connected = () => watch.expect(timeouts.firstByteMs, "the model server does not answer");
    if (socket.connecting) socket.once(secure ? "secureConnect" : "connect", connected);
    else connected();
  });
  return request.end(body);
}

function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject);
  });
}

function asCall(
  response: IncomingMessage,
  request: ClientRequest,
  watch: Watch,
  timeouts: CallTimeouts,
  cleanUp: () => void,
): Call {
  let over = false;
  const end = () => {
    cleanUp();
    if (response.readableEnded) return;
    if (!over && !response.complete) return void request.destroy();
    const timer = setTimeout(() => request.destroy(), restMs).unref();
    response.on("end", () => clearTimeout(timer)).resume();
  };
  return {
    status: response.statusCode ?? 0,
    contentType: response.headers["content-type"] ?? "",
    body: readBody(response, watch, timeouts, end),
    over: () => {
      over = true;
    },
  };
}

async function* readBody(
  response: IncomingMessage,
  watch: Watch,
  { idleMs }: CallTimeouts,
  end: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const bytes of response.iterator({ destroyOnReturn: false })) {
      // While the reader works, the server owes nothing.
      watch.stop();
      yield bytes as Uint8Array;
      watch.expect(idleMs, "the model server stood still");
    }
  } catch (error) {
    throw watch.reason ?? new EngineError("ENGINE_CRASHED", "the model server broke off", error);
  } finally {
    end();
  }
}

/** Breaks a call off, when it is told to or at a deadline (one at a time), and remembers why. */
class Watch {
  readonly #destroy: () => void;
  #timer: NodeJS.Timeout | undefined;
  #reason: EngineError | undefined;

  constructor(destroy: () => void) {
    this.#destroy = destroy;
  }

  get reason(): EngineError | undefined {
    return this.#reason;
  }

  expect(withinMs: number, otherwise: string, code: "ENGINE_TIMEOUT" | "ENGINE_UNAVAILABLE" = "ENGINE_TIMEOUT"): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.breakOff(new EngineError(code, otherwise)), withinMs);
  }

  breakOff(reason: EngineError): void {
    this.#reason ??= reason;
    this.#destroy();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

function cancelled(): EngineError {
  return new EngineError("CANCELLED", "the run was cancelled");
}
