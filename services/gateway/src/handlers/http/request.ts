/** What every HTTP handler reads from a request. */
import type { IncomingMessage } from "node:http";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import type { HttpLimits } from "./limits.ts";

/** Who calls; asked for once a request. Throws what TokenVerifier.verify throws. */
export function identify({ tokens }: Context, request: FastifyRequest): Promise<CallerIdentity> {
  const known = identities.get(request);
  if (known) return known;
  const identity = tokens.verify(/^Bearer\s+(\S+)$/i.exec(header(request, "authorization"))?.[1]);
  identities.set(request, identity);
  return identity;
}

const identities = new WeakMap<FastifyRequest, Promise<CallerIdentity>>();

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
    throw refused("HOST_MISSING", "HTTP/1.1 asks for a host header");
  const repeated = single.find((name) => (request.headersDistinct[name]?.length ?? 0) > 1);
  if (repeated !== undefined) throw refused("HEADER_REPEATED", `send one header ${repeated}`);
}

function refused(reason: string, message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason });
}
