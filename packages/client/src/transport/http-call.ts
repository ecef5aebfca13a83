/** One HTTP call, with node's own client: it takes a CA and a client certificate, which `fetch` does not. */
import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as sendHttp } from "node:http";
import { Agent as HttpsAgent, request as sendHttps } from "node:https";
import type { PeerCertificate } from "node:tls";
import { SallyportError, stoppedBy, unreachable } from "../errors.ts";
import { malformed } from "../views.ts";
import { fromHttpError } from "./http-errors.ts";
import { type Call, checkServer, type Tls } from "./transport.ts";

const maxBodyBytes = 16 * 1024 * 1024;

export interface HttpRequest {
  method: "GET" | "POST";
  /** Below the base URL, for instance `/models`. */
  path: string;
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
}

export interface HttpReply {
  headers: IncomingHttpHeaders;
  body: IncomingMessage;
}

export interface HttpCaller {
  /** The reply's head is there; its body is still to be read. Throws a SallyportError for every status but 2xx. */
  open(request: HttpRequest, call: Call): Promise<HttpReply>;
  json(request: HttpRequest, call: Call): Promise<unknown>;
  close(): void;
}

export function httpCaller(base: URL, { ca, cert, key, serverId }: Tls): HttpCaller {
  const secure = base.protocol === "https:";
  const checkServerIdentity = (host: string, certificate: PeerCertificate) => checkServer(host, serverId, certificate);
  const tls = { ca, cert, key, checkServerIdentity };
  const agent = secure ? new HttpsAgent({ keepAlive: true, ...tls }) : new HttpAgent({ keepAlive: true });
  const begin = secure ? sendHttps : sendHttp;

  const head = (request: HttpRequest, call: Call) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const { method, path, body } = request;
      const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const sent = begin(new URL(`${base.pathname.replace(/\/$/, "")}${path}`, base), {
        agent,
        method,
        signal: call.signal,
        headers: {
          accept: "application/json, text/event-stream",
          ...(call.bearer !== undefined && { authorization: `Bearer ${call.bearer}` }),
          ...(payload && { "content-type": "application/json", "content-length": payload.length }),
          ...request.headers,
        },
      });
      sent.once("response", resolve).once("error", reject).end(payload);
    });

  const open = async (request: HttpRequest, call: Call): Promise<HttpReply> => {
    if (call.signal.aborted) throw stoppedBy(call.signal);
    const body = await head(request, call).catch((error: unknown) => {
      throw connectionError(error, call);
    });
    const { statusCode = 0, headers } = body;
    if (statusCode >= 200 && statusCode < 300) return { headers, body };
    throw fromHttpError(statusCode, headers, await readText(body, call));
  };

  return {
    open,
    json: async (request, call) => {
      const text = await readText((await open(request, call)).body, call);
      try {
        return JSON.parse(text);
      } catch (cause) {
        throw malformed("it is not JSON", cause);
      }
    },
    close: () => agent.destroy(),
  };
}

/** What reading or writing a connection failed with. */
export function connectionError(error: unknown, { signal }: Call): SallyportError {
  if (error instanceof SallyportError) return error;
  return signal.aborted ? stoppedBy(signal) : unreachable(error);
}

async function readText(body: IncomingMessage, call: Call): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBodyBytes) throw malformed(`it is longer than ${maxBodyBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw connectionError(error, call);
  }
  return Buffer.concat(chunks).toString("utf8");
}
