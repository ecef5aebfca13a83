import { isSwitchCode } from "@sallyport/runtime";

/** Public codes of the gateway's own outcomes, with what a caller can do. Codes of blocks and holds come from policy. */
export const outcomes = {
  DEADLINE_EXCEEDED: "The request did not finish before its deadline. Send it again, or ask for fewer tokens.",
  ATTEMPT_LOST: "The run was lost after part of the answer had been released. Send the request again.",
  ATTEMPTS_EXHAUSTED: "The model could not finish this request in several attempts. Send it again later.",
  TICKET_INVALID:
    "An output arrived without a valid release ticket and was refused. Tell your operator the request id.",
  VERDICT_LOST: "Part of the review was lost, so the rest cannot be released. Send the request again.",
  HOLD_EXPIRED: "Nobody decided on the held request in time, so it is blocked. Ask your reviewers, then send it again.",
  REVIEW_DENIED: "A reviewer refused the release of this request.",
  CANCELLED: "The request was cancelled.",
  CLIENT_GONE: "The caller went away before the answer was complete.",
  HELD: "A person has to look at this request first. Fetch it later by its id.",
  FAILED: "The model could not finish this request. Send it again; if it fails again, tell your operator its id.",
  BLOCKED: "This request is not allowed by policy.",
  CONTEXT_OVERFLOW: "The messages do not fit into the model's context. Send fewer or shorter ones.",
  REQUEST_INVALID: "The model cannot run these messages with these parameters. Change them, then send it again.",
  MODEL_NOT_APPROVED: "The model is no longer approved. Choose another one from the list of models.",
  MODEL_UNUSABLE: "The model cannot be used here. Choose another one, and tell your operator.",
  ENGINE_FAILED: "The model failed on this request. Send it again; if it fails again, tell your operator its id.",
  ENGINE_TIMEOUT: "The model did not answer in time. Send the request again later.",
  ENGINE_CRASHED: "The model's engine broke off. Send the request again.",
  ENGINE_UNAVAILABLE: "The model's engine is away. Send the request again later.",
  RUN_REFUSED:
    "The run of this request could not be verified. Send it again; if it fails again, tell your operator its id.",
  WORKER_STOPPING: "The worker stopped during this request. Send it again.",
  PAUSED: "The platform's operators have paused this. Send it again later, not at once.",
  BANNED: "This identity may not call any more. Ask your administrator.",
  CREDENTIAL_REVOKED: "The credential of this request was revoked. Get a new one.",
  OUTPUT_TOO_LARGE: "The answer grew larger than can be reviewed. Ask for fewer tokens.",
} as const;
export type OutcomeCode = keyof typeof outcomes;

/** What policy says of its own codes. */
export type PolicyCodes = Readonly<Record<string, { message: string; whatToDo: string }>>;

/** For the caller: what happened and what to do. Policy's words where the code is policy's. */
export function outcomeMessage(code: string, codes: PolicyCodes, otherwise: OutcomeCode): string {
  const known = Object.hasOwn(codes, code) ? codes[code] : undefined;
  if (known) return `${known.message} ${known.whatToDo}`;
  return isOutcome(code) ? outcomes[code] : outcomes[otherwise];
}

/**
 * A failure's code comes from inside the chamber unsigned, and goes to the caller and into the record: only codes that
 * are known here pass, so that no text that a model made travels as one. What is switched off the gateway knows itself.
 */
export function failureCode(code: string): OutcomeCode {
  return isOutcome(code) && !isSwitchCode(code) ? code : "FAILED";
}

function isOutcome(code: string): code is OutcomeCode {
  return Object.hasOwn(outcomes, code);
}
