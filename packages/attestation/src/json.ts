import canonicalize from "canonicalize";
import { AttestationError } from "./errors.ts";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** RFC 8785 canonical JSON as UTF-8. Throws FIELD_INVALID for what JSON cannot hold (NaN, lone surrogates, cycles). */
export function canonicalBytes(value: unknown): Uint8Array {
  let text: string | undefined;
  try {
    text = canonicalize(value);
  } catch (cause) {
    throw new AttestationError("FIELD_INVALID", "the value cannot be written as canonical JSON", { cause });
  }
  if (text === undefined) throw new AttestationError("FIELD_INVALID", "the value has no JSON form");
  return new TextEncoder().encode(text);
}

/**
 * Reads JSON that must be, byte for byte, its own RFC 8785 form. That one comparison refuses duplicate names, other
 * orders, spaces, byte order marks, other spellings of numbers and escapes: two readers can never see two meanings.
 */
export function parseCanonical(bytes: Uint8Array): Json {
  let value: Json;
  let again: Uint8Array;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)) as Json;
    again = canonicalBytes(value);
  } catch (cause) {
    throw new AttestationError("NOT_CANONICAL", "the payload is not canonical JSON", { cause });
  }
  if (Buffer.compare(again, bytes) !== 0) {
    throw new AttestationError("NOT_CANONICAL", "the payload is not in its canonical form");
  }
  return value;
}

/** Standard base64 with padding (RFC 4648 section 4), one spelling only. */
export function decodeBase64(text: string, field: string): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw invalid(field, "is not standard base64");
  return new Uint8Array(bytes);
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

export function invalid(field: string, problem: string): AttestationError {
  return new AttestationError("FIELD_INVALID", `${field} ${problem}`, { field });
}
