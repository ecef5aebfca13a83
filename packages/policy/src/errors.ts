/**
 * POLICY_UNAVAILABLE: no decision could be made; the caller must refuse.
 * BUNDLE_INVALID: a bundle is malformed, inconsistent or too large; it must not be activated.
 */
export type PolicyErrorCode = "POLICY_UNAVAILABLE" | "BUNDLE_INVALID";

export class PolicyError extends Error {
  readonly code: PolicyErrorCode;

  constructor(code: PolicyErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "PolicyError";
    this.code = code;
  }
}
