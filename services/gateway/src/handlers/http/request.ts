/** What every HTTP handler reads from a request. */
import type { CallerIdentity } from "@sallyport/runtime";
import type { FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";

export function identify({ tokens }: Context, request: FastifyRequest): Promise<CallerIdentity> {
  const authorization = header(request, "authorization");
  return tokens.verify(/^Bearer\s+(\S+)$/i.exec(authorization)?.[1]);
}

/** A repeated header counts as none: which of them was meant is anybody's guess. */
export function header(request: FastifyRequest, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value : "";
}
