/** One error for everything that a call can end with, the same over gRPC and HTTP. */

/** The platform's closed set of codes, and UNVERIFIED, which is ours: what came does not match its signatures. */
export const errorCodes = [
  "INVALID_ARGUMENT",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "FAILED_PRECONDITION",
  "RESOURCE_EXHAUSTED",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "UNAVAILABLE",
  "INTERNAL",
  "BLOCKED",
  "HELD",
  "UNVERIFIED",
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export interface ErrorFacts {
  /** UPPER_SNAKE public reason; the code itself when there is none. */
  reason?: string;
  requestId?: string;
  /** Hex leaf hash of the record in the audit log: the request has ended, and this is how. */
  leafHash?: string;
  /** Which field of the request is at fault. */
  field?: string;
  retryAfterMs?: number;
  /** What the platform says itself; otherwise code and reason tell. */
  shouldRetry?: boolean;
  cause?: unknown;
}

/** Thrown by every method of the client. `message` says what happened, `whatToDo` what helps. */
export class SallyportError extends Error {
  override readonly name: string = "SallyportError";
  readonly code: ErrorCode;
  readonly reason: string;
  readonly requestId: string | undefined;
  readonly leafHash: string | undefined;
  readonly field: string | undefined;
  /** The same request may succeed when it is sent again; with `retryAfterMs`, not sooner than that. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly whatToDo: string;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.reason = facts.reason ?? code;
    this.requestId = facts.requestId;
    this.leafHash = facts.leafHash;
    this.field = facts.field;
    this.retryable = facts.shouldRetry ?? (retryableCodes.has(code) && !lasting.has(this.reason));
    this.retryAfterMs = facts.retryAfterMs;
    this.whatToDo = advice[code];
  }
}

/** A ticket, the bytes it is over, or a receipt does not verify: nothing of it may be used. `reason` says what is wrong. */
export class VerificationError extends SallyportError {
  override readonly name = "VerificationError";

  constructor(reason: string, message: string, facts: Pick<ErrorFacts, "requestId" | "cause"> = {}) {
    super("UNVERIFIED", message, { ...facts, reason });
  }
}

const retryableCodes: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);

/** Sent again, these end the same way until somebody changes something. */
const lasting: ReadonlySet<string> = new Set(["PAUSED", "MESSAGE_TOO_LARGE"]);

const advice: Readonly<Record<ErrorCode, string>> = {
  INVALID_ARGUMENT: "Change the request as the message says, then send it again.",
  UNAUTHENTICATED: "Get a new access token, or check the client certificate.",
  PERMISSION_DENIED: "Ask your operator for the role that this needs.",
  NOT_FOUND: "Check the id or name. Requests are seen by whoever sent them alone.",
  ALREADY_EXISTS: "Use a new idempotency key for another request.",
  FAILED_PRECONDITION: "Wait until the state allows it, or change what the message names.",
  RESOURCE_EXHAUSTED: "Wait as long as retryAfterMs says, then send it again; or send less.",
  CANCELLED: "Send it again if it is still wanted.",
  DEADLINE_EXCEEDED: "Send it again with a longer timeout, or ask for fewer tokens.",
  UNAVAILABLE: "Try again later. If it lasts, check address, CA and network, then ask your operator.",
  INTERNAL: "Try again later, and tell your operator the request id.",
  BLOCKED: "Policy does not allow this. Change the request; do not repeat it.",
  HELD: "A person decides. Fetch it later by its request id.",
  UNVERIFIED: "Use nothing of it. Check trust bundle and connection, and tell your operator the request id.",
};

/** What stopped a call on this side: its signal or its deadline. */
export function stoppedBy(signal: AbortSignal): SallyportError {
  const { reason } = signal;
  return reason?.name === "TimeoutError"
    ? new SallyportError("DEADLINE_EXCEEDED", "it took longer than its timeout", { cause: reason })
    : new SallyportError("CANCELLED", "it was cancelled", { cause: reason });
}

/** Neither transport's own text is passed on: it names hosts and differs. It is the `cause`. */
export function unreachable(cause: unknown): SallyportError {
  return new SallyportError("UNAVAILABLE", "the gateway cannot be reached, or broke off", { cause });
}
