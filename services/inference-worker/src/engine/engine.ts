/** What every engine does, whatever is behind it. Engines know nothing of requests, keys, tickets or the bus. */

export interface ChatTurn {
  role: "system" | "user" | "assistant";
  text: string;
}

export interface Sampling {
  /** Upper bound of tokens to generate, 1 or more; less where the model's context ends first. */
  maxTokens: number;
  /** 0: always the likeliest token. */
  temperature: number;
  /** 0 to 1; 1: off. */
  topP: number;
  /** 0: off. */
  topK: number;
  /** 0 to 2^32 - 2. */
  seed: number;
  /** Texts that end the output; they are not part of it. */
  stop: readonly string[];
  presencePenalty: number;
  frequencyPenalty: number;
}

export interface GenerationRequest {
  turns: readonly ChatTurn[];
  sampling: Sampling;
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

/** A piece of output. The last one, and only it, has `finishReason` and `usage`; its text may be empty. */
export interface Chunk {
  text: string;
  /** How many tokens this piece stands for. */
  tokens: number;
  finishReason?: "stop" | "length";
  usage?: Usage;
}

export interface Engine {
  readonly kind: "llama" | "remote";
  /** Resolves once the engine can generate. Rejects with EngineError. */
  load(signal: AbortSignal): Promise<void>;
  /** True between load and unload, while it can generate; false while it restarts after a crash. */
  readonly ready: boolean;
  /** Rejects with EngineError; with code CANCELLED as soon as `signal` aborts. Ends the generation when not read on. */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<Chunk>;
  /** Frees everything. Idempotent. */
  unload(): Promise<void>;
}

/** Code → whether another attempt may fare better. */
const retryable = {
  /** Prompt and at least one token of output do not fit the model's context. */
  CONTEXT_OVERFLOW: false,
  /** The prompt cannot be given to this model. */
  PROMPT_UNUSABLE: false,
  CANCELLED: false,
  /** The engine died under the run. */
  ENGINE_CRASHED: true,
  /** The engine gave no token for too long. */
  ENGINE_TIMEOUT: true,
  /** The engine could not be reached, or has not come back yet. */
  ENGINE_UNAVAILABLE: true,
  /** It answered with an error or with nonsense. */
  ENGINE_FAILED: true,
  /** The file is not the approved one, or no model that this engine can load. */
  MODEL_UNUSABLE: false,
} as const;

export type EngineErrorCode = keyof typeof retryable;

/** `message` holds no text of prompt or output: it is logged, and sent on as the reason of a failed run. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: EngineErrorCode;
  readonly retryable: boolean;

  constructor(code: EngineErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = retryable[code];
  }
}

export function isEngineErrorCode(value: unknown): value is EngineErrorCode {
  return typeof value === "string" && Object.hasOwn(retryable, value);
}
