/**
 * What went wrong, for callers that branch on it. `proof`: hashes do not connect the claim to the root.
 * `signature`: no valid signature by a trusted key. `format`: bytes that the specification does not allow.
 * `range`: sizes or indices that cannot belong together, or hashes that are missing.
 */
export type TlogErrorCode = "format" | "proof" | "range" | "signature";

/** The one error of this package. Messages never quote signed or untrusted text. */
export class TlogError extends Error {
  readonly code: TlogErrorCode;

  constructor(code: TlogErrorCode, message: string) {
    super(message);
    this.name = "TlogError";
    this.code = code;
  }
}

/** Throws `TlogError` with `code` unless `condition` holds. */
export function check(condition: boolean, code: TlogErrorCode, message: string): asserts condition {
  if (!condition) throw new TlogError(code, message);
}
