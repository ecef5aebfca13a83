import { stoppedBySwitch } from "@sallyport/runtime";
import { EngineError } from "../engine/engine.ts";

/** Code → whether another attempt may fare better. Engine errors have their own (engine.ts). */
const retryable = {
  /** Delivered before: a run may have begun that nobody knows the end of. */
  ATTEMPT_LOST: true,
  /** Admission, digest or secret do not hold. */
  ADMISSION_INVALID: false,
  CANCELLED: false,
  DEADLINE_EXCEEDED: false,
  MODEL_NOT_APPROVED: false,
  /** The caller's parameters or messages cannot be run. */
  REQUEST_INVALID: false,
  /** The gateway ends the request for the switch; otherwise it is tried again. */
  [stoppedBySwitch]: true,
  /** The worker ends; another one may take over. */
  WORKER_STOPPING: true,
  INTERNAL: true,
} as const;

export type RunFailureCode = keyof typeof retryable;

/** Why a run ends without an answer, as door 2 and the gateway learn it. `message` is for the caller; no content. */
export class RunFailure extends Error {
  override readonly name = "RunFailure";
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: RunFailureCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = retryable[code];
  }
}

export interface FailureFacts {
  code: string;
  retryable: boolean;
  message: string;
}

/** Whatever was thrown; what is not known says nothing of itself. */
export function factsOf(error: unknown): FailureFacts {
  if (error instanceof RunFailure || error instanceof EngineError) {
    // What a file or a library says about a model is for the log.
    const message = error.code === "MODEL_UNUSABLE" ? "the model cannot be used here" : error.message;
    return { code: error.code, retryable: error.retryable, message };
  }
  return { code: "INTERNAL", retryable: retryable.INTERNAL, message: "something went wrong on our side" };
}
