/** Every way in which an attestation can be refused. The set is closed: callers switch on it. */
export type AttestationCode =
  // envelopes and encodings
  | "ENVELOPE_INVALID"
  | "PAYLOAD_TYPE"
  | "PAYLOAD_TOO_LARGE"
  | "SIGNATURE_COUNT"
  | "UNKNOWN_KEY"
  | "BAD_SIGNATURE"
  | "NOT_CANONICAL"
  | "FIELD_INVALID"
  | "KEY_INVALID"
  // trust
  | "WRONG_STAGE"
  | "KEY_NOT_VALID"
  | "TRUST_INVALID"
  | "TRUST_EXPIRED"
  | "TRUST_ROLLBACK"
  // signed state and encrypted bodies
  | "STATE_MISMATCH"
  | "STATE_ROLLBACK"
  | "BODY_UNREADABLE"
  | "SECRET_UNREADABLE"
  // release chains
  | "STAGE_UNEXPECTED"
  | "REQUEST_MISMATCH"
  | "TENANT_MISMATCH"
  | "ATTEMPT_MISMATCH"
  | "MODALITY_MISMATCH"
  | "SUBJECT_MISMATCH"
  | "DECISION_REFUSED"
  | "HARD_STOP"
  | "CHAIN_BROKEN"
  | "INDEX_MISMATCH"
  | "MODEL_NOT_APPROVED"
  | "MODEL_MISMATCH"
  | "NOT_YET_VALID"
  | "EXPIRED"
  | "OUT_OF_ORDER"
  | "TRUNCATED";

/** Something that claims to be signed, sealed or well formed is not. Messages carry no secret and no content. */
export class AttestationError extends Error {
  override readonly name: string = "AttestationError";
  readonly code: AttestationCode;
  /** Path of the field at fault, such as `predicate.findings[0].score`, where one is known. */
  readonly field: string | undefined;

  constructor(code: AttestationCode, message: string, options: { cause?: unknown; field?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.field = options.field;
  }
}

/** A release chain was refused: nothing that it covers may leave. */
export class TicketError extends AttestationError {
  override readonly name = "TicketError";
}

/** Runs `step`, and turns every refusal inside it into a TicketError of the same code. */
export function refusing<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof AttestationError && !(error instanceof TicketError)) {
      throw new TicketError(error.code, error.message, { cause: error, field: error.field });
    }
    throw error;
  }
}
