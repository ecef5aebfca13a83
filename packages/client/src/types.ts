/** What goes into the client and what comes out of it, whichever transport carries it. */

export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  /** 64 letters, digits, `_` and `-` at most. */
  name?: string;
  /** `untrusted`: documents, tool results, quoted text. Default: untrusted for `tool`, else the caller's own. */
  trust?: "caller" | "untrusted";
}

export interface ChatRequest {
  model: string;
  messages: readonly ChatMessage[];
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  seed?: number;
  stop?: readonly string[];
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** Opaque to the platform, 256 bytes at most; kept in the record. */
  clientReference?: string;
}

export interface CallOptions {
  /** Longest wait for the whole call, retries included. Default: the client's. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface ChatOptions extends CallOptions {
  /**
   * Brings the first outcome back for 24 h, and is what makes a retry safe; with one, the request goes on when its caller
   * goes away. `chat` makes one when there is none, `stream` does not.
   */
  idempotencyKey?: string;
}

/** A released piece of text. It was verified before it got here, unless verification is off. */
export interface ChatWindow {
  /** From 0. */
  index: number;
  text: string;
  /** Door 2 removed or masked something in it. */
  sanitised: boolean;
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

/** A released output. */
export interface ChatResult {
  requestId: string;
  text: string;
  finishReason: "stop" | "length";
  usage: Usage;
  sanitised: boolean;
  /** Hex SHA-256 of the policy bundle that decided. */
  policyDigest: string;
  /** Hex leaf hash (RFC 6962) of the record in the audit log. */
  leafHash: string;
  /** Undefined when verification is off. */
  proof: OutputProof | undefined;
}

/** What the verified tickets say; hex digests. */
export interface OutputProof {
  attempt: number;
  tenant: string;
  /** Of the model that ran, as the worker claimed and door 2 confirmed. */
  modelDigest: string;
  /** SHA-256(salt ‖ request as accepted). */
  requestDigest: string;
  /** SHA-256(salt ‖ output bytes): stands in the audit record, too. */
  outputDigest: string;
  /** Door 1 changed the request before it let it in; it signed that it was this one that it changed. */
  requestSanitised: boolean;
}

export type RequestStateName = "queued" | "running" | "held" | "released" | "blocked" | "failed" | "cancelled";

export interface Finding {
  code: string;
  category: string;
  /** 0 to 1. */
  score: number;
  hardStop: boolean;
  layer: string;
}

export interface RequestView {
  requestId: string;
  state: RequestStateName;
  /** Public reason code; empty when released. */
  code: string;
  /** What happened and what to do; empty when released. */
  message: string;
  findings: Finding[];
  model: string;
  modelDigest: string;
  policyDigest: string;
  leafHash: string;
  createdAt: Date | undefined;
  endedAt: Date | undefined;
  /** Held: when the hold expires, and the request is then blocked. */
  holdExpiresAt: Date | undefined;
  /** Released: the output, verified. */
  text: string | undefined;
  /** Released: the ticket file (JSON), with the output in the clear; what `sallyport ticket verify` takes. */
  ticket: string | undefined;
}

export interface ModelInfo {
  name: string;
  version: string;
  /** Hex SHA-256 of the weights. */
  digest: string;
  engine: string;
  contextTokens: number;
  tier: string;
  approvedAt: Date | undefined;
}

export interface Moderation {
  id: string;
  policyDigest: string;
  /** One a text, in order. */
  results: ModerationResult[];
}

export interface ModerationResult {
  decision: "allow" | "deny" | "hold" | "sanitise";
  /** deny or hold. */
  flagged: boolean;
  findings: Finding[];
  /** Highest score of each category, 0 to 1. */
  scores: Record<string, number>;
}

export interface ReceiptOptions extends CallOptions {
  /** How long to wait for the log to hold the record (normally under 2 s). Default 10 s. */
  waitMs?: number;
}
