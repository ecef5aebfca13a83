import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
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
  /** PEM; for https only. */
  ca?: string;
  signal: AbortSignal;
}

export interface Call {
  status: number;
  contentType: string;
  /** Rejects with EngineError. Stops the call when not read on. */
  body: AsyncIterable<Uint8Array>;
}

/**
 * One HTTP exchange over Node's own client with a connection of its own: it follows no redirect, and a fresh agent, other
 * than the global one and fetch, reads no proxy from the environment. Rejects with EngineError.
 */
export async function call(options: CallOptions): Promise<Call> {
  const { url, body, timeouts, signal, ca } = options;
  if (signal.aborted) throw cancelled();
  const secure = url.protocol === "https:";
  const agent = secure ? new SecureAgent({ keepAlive: false, ca }) : new Agent({ keepAlive: false });
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const request = (secure ? httpsRequest : httpRequest)(url, {
    method: body === undefined ? "GET" : "POST",
    agent,
    headers: { ...headers, accept: "text/event-stream, application/json" },
  });
  const watch = new Watch(() => request.destroy());
  const abort = () => watch.breakOff(cancelled());
  signal.addEventListener("abort", abort, { once: true });
  const cleanUp = () => {
    watch.stop();
    signal.removeEventListener("abort", abort);
    request.destroy();
  };
  watch.expect(timeouts.connectMs, "the model server does not take the connection", "ENGINE_UNAVAILABLE");
  request.on("socket", (socket) => {
    const connected = () => watch.expect(timeouts.firstByteMs, "the model server does not answer");
    if (socket.connecting) socket.once(secure ? "secureConnect" : "connect", connected);
    else connected();
  });
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on("response", resolve);
      request.on("error", reject);
      request.end(body);
    });
    const contentType = response.headers["content-type"] ?? "";
    return { status: response.statusCode ?? 0, contentType, body: readBody(response, watch, timeouts, cleanUp) };
  } catch (error) {
    cleanUp();
    throw watch.reason ?? new EngineError("ENGINE_UNAVAILABLE", "the model server cannot be reached", error);
  }
}

async function* readBody(
  response: IncomingMessage,
  watch: Watch,
  { idleMs }: CallTimeouts,
  cleanUp: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const bytes of response) {
      // While the reader works, the server owes nothing.
      watch.stop();
      yield bytes as Uint8Array;
      watch.expect(idleMs, "the model server stood still");
    }
  } catch (error) {
    throw watch.reason ?? new EngineError("ENGINE_CRASHED", "the model server broke off", error);
  } finally {
    cleanUp();
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
