/**
 * One error for everything that can go wrong while operating, with a closed set of codes, mapped once to gRPC, HTTP and
 * acknowledgements. `message` is for the caller: what to do, never internals, never content, never a token.
 */

/** Code → [gRPC status, HTTP status, what a bus consumer does with the message]. */
const mapping = {
  INVALID_ARGUMENT: [3, 400, "term"],
  UNAUTHENTICATED: [16, 401, "term"],
  PERMISSION_DENIED: [7, 403, "term"],
  NOT_FOUND: [5, 404, "term"],
  ALREADY_EXISTS: [6, 409, "ack"],
  FAILED_PRECONDITION: [9, 400, "term"],
  RESOURCE_EXHAUSTED: [8, 429, "nak"],
  CANCELLED: [1, 499, "nak"],
  DEADLINE_EXCEEDED: [4, 504, "nak"],
  UNAVAILABLE: [14, 503, "nak"],
  // Nacked, not terminated: the delivery limit sends to DEAD what is a fault of the message and not of the moment.
  INTERNAL: [13, 500, "nak"],
  BLOCKED: [7, 400, "term"],
  // Not 409, which clients repeat by themselves: a held request must not be sent again.
  HELD: [9, 403, "term"],
} as const satisfies Record<string, readonly [number, number, AckAction]>;

export type ErrorCode = keyof typeof mapping;
export type AckAction = "ack" | "nak" | "term";
export const errorCodes = Object.keys(mapping) as readonly ErrorCode[];

export interface AppErrorOptions {
  /** UPPER_SNAKE; the code itself when left out. */
  reason?: string;
  /** Public facts, for instance `{ requestId }`; they travel in ErrorInfo.metadata. */
  details?: Readonly<Record<string, string>>;
  /** Trying again sooner is in vain: google.rpc.RetryInfo, HTTP Retry-After. */
  retryAfterMs?: number;
  /** For the log only. */
  cause?: unknown;
}

export class AppError extends Error {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly reason: string;
  readonly details: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason ?? code;
    this.details = options.details ?? {};
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** What policy does not let this caller do; `why` is policy's own reason, such as NO_ROLE. */
export function notAuthorised(action: string, why: string): AppError {
  const message = `your groups do not allow ${action} here (${why}); ask your administrator for the role`;
  return new AppError("PERMISSION_DENIED", message, { reason: "NOT_AUTHORISED", details: { action, why } });
}

export interface GrpcStatus {
  /** google.rpc.Code. */
  code: number;
  message: string;
  reason: string;
  details: Readonly<Record<string, string>>;
  retryAfterMs: number | undefined;
}

export function toGrpcStatus(error: unknown): GrpcStatus {
  const { code, message, reason, details, retryAfterMs } = asAppError(error);
  // BLOCKED and HELD share a gRPC status with other codes: `code` lets our own client tell them apart.
  return { code: mapping[code][0], message, reason, details: { ...details, code }, retryAfterMs };
}

export function toHttpStatus(error: unknown): number {
  return mapping[asAppError(error).code][1];
}

/** ack: done already; nak: try again later; term: trying again cannot help. */
export function toAckAction(error: unknown): AckAction {
  return mapping[asAppError(error).code][2];
}

/** The code that a gRPC status means when no ErrorInfo says more. Unknown numbers are INTERNAL. */
export function codeOfGrpcStatus(status: number): ErrorCode {
  return errorCodes.find((code) => mapping[code][0] === status) ?? "INTERNAL";
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(mapping, value);
}

/** Anything thrown → AppError. What is not recognised is INTERNAL and tells its message to the log alone (`cause`). */
export function asAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  if (thrown instanceof Error) {
    if (thrown.name === "TimeoutError") {
      return new AppError("DEADLINE_EXCEEDED", "it took too long; try again", { cause: thrown });
    }
    if (thrown.name === "AbortError") return new AppError("CANCELLED", "it was cancelled", { cause: thrown });
    if (isConnectionFault(thrown)) {
      return new AppError("UNAVAILABLE", "a part of the platform cannot be reached; try again", { cause: thrown });
    }
    // Postgres stores every text but those with a NUL (SQLSTATE 22021, in JSON 22P05): whoever sent one has to leave it out.
    if ("code" in thrown && (thrown.code === "22021" || thrown.code === "22P05")) {
      const message = "a text holds a NUL character, which cannot be stored; leave it out";
      return new AppError("INVALID_ARGUMENT", message, { reason: "INVALID_TEXT", cause: thrown });
    }
    // A policy that cannot decide refuses for now: it is the platform that is not well, not the request.
    if (thrown.name === "PolicyError") {
      return new AppError("UNAVAILABLE", "policy cannot decide right now; try again", {
        reason: "POLICY_UNAVAILABLE",
        cause: thrown,
      });
    }
    // Attestations are refused with codes of their own; known by name, since a build may hold two copies of the class.
    if ((thrown.name === "AttestationError" || thrown.name === "TicketError") && "code" in thrown) {
      const reason = String(thrown.code);
      return new AppError("PERMISSION_DENIED", "an attestation was refused", { reason, cause: thrown });
    }
  }
  return new AppError("INTERNAL", "something went wrong on our side; it is in the log", { cause: thrown });
}

/** Sockets (Node's codes) and Postgres (SQLSTATE class 08, 53 and the shutdown codes 57P01 to 57P03). */
function isConnectionFault(error: Error): boolean {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|(08|53)[0-9A-Z]{3}|57P0[123])$/.test(
    code,
  );
}
