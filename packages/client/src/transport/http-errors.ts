/** OpenAI's error shape with our code and details, and the headers beside it → SallyportError. */
import type { IncomingHttpHeaders } from "node:http";
import { type ErrorCode, type ErrorFacts, SallyportError, unreachable } from "../errors.ts";
import { fromDetails } from "./error-details.ts";

interface PublicError {
  message?: unknown;
  code?: unknown;
  param?: unknown;
  sallyport?: unknown;
}

/** Where nothing but the status is there: a proxy in between, for instance. */
const codes: Readonly<Record<number, ErrorCode>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ALREADY_EXISTS",
  429: "RESOURCE_EXHAUSTED",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

export function fromHttpError(status: number, headers: IncomingHttpHeaders, body: string): SallyportError {
  const facts = { retryAfterMs: retryAfterMs(headers["retry-after"]), shouldRetry: flag(headers["x-should-retry"]) };
  const error = publicErrorOf(body);
  if (error) return fromPublicError(error, facts);
  const code = codes[status] ?? "INTERNAL";
  return code === "UNAVAILABLE"
    ? unreachable(new Error(`HTTP status ${status}`))
    : new SallyportError(code, "the call failed", { ...facts, cause: new Error(`HTTP status ${status}`) });
}

/** Also what a stream's last event may hold. */
export function fromPublicError(
  { message, code, param, sallyport }: PublicError,
  facts: ErrorFacts = {},
): SallyportError {
  const details = (typeof sallyport === "object" && sallyport !== null ? sallyport : {}) as Record<string, unknown>;
  const ours = typeof details.code === "string" ? details.code : undefined;
  const reason = typeof code === "string" ? code : "";
  // The gateway writes our reasons in OpenAI's lower case, policy's codes as policy has them.
  const told = {
    code: ours,
    reason: (ours === "BLOCKED" || ours === "HELD" ? reason : reason.toUpperCase()) || ours || "INTERNAL",
    message: typeof message === "string" ? message : "the call failed",
  };
  return fromDetails(told, typeof param === "string" ? { ...details, field: param } : details, facts);
}

function publicErrorOf(body: string): PublicError | undefined {
  try {
    const { error } = JSON.parse(body) as { error?: PublicError };
    return typeof error === "object" && error !== null ? error : undefined;
  } catch {
    return undefined;
  }
}

/** Seconds or a date (RFC 9110, section 10.2.3). */
export function retryAfterMs(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

function flag(header: string | string[] | undefined): boolean | undefined {
  return header === "true" ? true : header === "false" ? false : undefined;
}
