import { createHash } from "node:crypto";
import { AppError } from "@sallyport/runtime";

const minCharacters = 10;
const maxCharacters = 2_000;

export interface Justification {
  text: string;
  /** Hex SHA-256 of the text in UTF-8. */
  digest: string;
}

/** Why a person decided so: in governance's own schema as text, in records and signatures as a digest. */
export function readJustification(text: string): Justification {
  const trimmed = text.trim();
  const length = [...trimmed].length;
  if (length < minCharacters || length > maxCharacters) {
    const message = `a justification has ${minCharacters} to ${maxCharacters} characters`;
    throw new AppError("INVALID_ARGUMENT", message, {
      reason: "JUSTIFICATION_LENGTH",
      details: { field: "justification" },
    });
  }
  return { text: trimmed, digest: createHash("sha256").update(trimmed).digest("hex") };
}
