import { check } from "./errors.ts";

const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const base64Form = /^[A-Za-z0-9+/]*={0,2}$/;
const decimalForm = /^(?:0|[1-9][0-9]{0,15})$/;

/** Standard padded base64 (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Decodes canonical base64 only: padding present, no unused bits set, nothing else in the text. */
export function fromBase64(text: string, what: string): Uint8Array {
  check(base64Form.test(text), "format", `${what} is not base64`);
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  check(toBase64(bytes) === text, "format", `${what} is not canonical base64`);
  return bytes;
}

/** Decodes a 32-byte hash from canonical base64. */
export function hashFromBase64(text: string, what: string): Uint8Array {
  const bytes = fromBase64(text, what);
  check(bytes.length === 32, "format", `${what} is not 32 bytes`);
  return bytes;
}

/** Decodes an ASCII decimal without leading zeroes, up to 2^53 - 1. */
export function parseDecimal(text: string, what: string): number {
  check(decimalForm.test(text), "format", `${what} is not a plain decimal number`);
  const value = Number(text);
  check(Number.isSafeInteger(value), "format", `${what} is too large`);
  return value;
}

/** Well-formed text from bytes or string; a byte order mark is kept, bad UTF-8 is refused. */
export function strictText(input: string | Uint8Array, what: string): string {
  if (typeof input === "string") {
    check(input.isWellFormed(), "format", `${what} is not well-formed Unicode`);
    return input;
  }
  try {
    return utf8Strict.decode(input);
  } catch {
    return check(false, "format", `${what} is not UTF-8`) as never;
  }
}

/** True when two byte strings are equal. For public values: not constant in time. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
