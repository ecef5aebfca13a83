/** What every HTTP handler reads from a request. */
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { AppError, type Caller } from "@sallyport/runtime";
import type { FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import { identify as identifyCaller } from "../../core/callers.ts";
import type { HttpLimits } from "./limits.ts";

/** Who calls; asked for once a request. Throws what `identify` of core/callers.ts throws, and TOKEN_MALFORMED. */
export function identify(context: Context, request: FastifyRequest): Promise<Caller> {
  const known = callers.get(request);
  if (known) return known;
  const bearer = bearerOf(header(request, "authorization"));
  const caller = identifyCaller(context, { bearer, certificate: certificateOf(request) });
  callers.set(request, caller);
  return caller;
}

/** What was sent and is no bearer is refused: the certificate would else speak for a caller who meant to be another. */
function bearerOf(authorization: string): string | undefined {
  const [, bearer] = /^Bearer\s+(\S+)$/i.exec(authorization) ?? [];
  if (bearer !== undefined || /^(Bearer)?\s*$/i.test(authorization)) return bearer;
  throw new AppError("UNAUTHENTICATED", "send one header `authorization: Bearer <access token>`", {
    reason: "TOKEN_MALFORMED",
  });
}

const callers = new WeakMap<FastifyRequest, Promise<Caller>>();

/** Only one that TLS has verified against the callers' CA. */
function certificateOf({ raw: { socket } }: FastifyRequest): Uint8Array | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  return socket.getPeerCertificate().raw;
}

export function header(request: FastifyRequest, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value : "";
}

/** Of these the first or the last would count, depending on who reads: a proxy before us might mean the other. */
const single = ["host", "authorization", "content-type", "content-encoding", "idempotency-key", "traceparent"];

/** Throws INVALID_ARGUMENT: URL_TOO_LONG, HOST_MISSING, HEADER_REPEATED. */
export function checkHead(
  request: Pick<IncomingMessage, "url" | "httpVersion" | "headersDistinct">,
  limits: HttpLimits,
): void {
  if ((request.url ?? "").length > limits.urlChars)
    throw refused("URL_TOO_LONG", `the URL has more than ${limits.urlChars} characters`);
  if (request.httpVersion === "1.1" && !request.headersDistinct.host)
    throw refused("HOST_MISSING", "send a host header");
  const repeated = single.find((name) => (request.headersDistinct[name]?.length ?? 0) > 1);
  if (repeated !== undefined) throw refused("HEADER_REPEATED", `send one header ${repeated}`);
}

function refused(reason: string, message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason });
}
