/** Strict readers of signed values: what is not understood whole is refused whole, and then the state is stale. */
import { AttestationError, type Json } from "@sallyport/attestation";

export type Fields = Record<string, Json | undefined>;

/** An object with all of `required`, maybe some of `optional`, and nothing else. */
export function fields(value: Json | undefined, required: readonly string[], optional: readonly string[] = []): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("no object");
  const known = [...required, ...optional];
  if (!Object.keys(value).every((name) => known.includes(name))) throw invalid("unknown fields");
  if (!required.every((name) => Object.hasOwn(value, name))) throw invalid("a field is missing");
  return value;
}

export function list<T>(value: Json | undefined, read: (entry: Json) => T): readonly T[] {
  if (!Array.isArray(value)) throw invalid("no list");
  return value.map(read);
}

export function text(value: Json | undefined, form = /^.+$/su): string {
  if (typeof value !== "string" || !form.test(value)) throw invalid("a text is missing or malformed");
  return value;
}

/** RFC 3339. */
export function time(value: Json | undefined): Date {
  const at = new Date(text(value));
  if (Number.isNaN(at.getTime())) throw invalid("no time");
  return at;
}

export function invalid(problem: string): Error {
  return new AttestationError("FIELD_INVALID", `the signed value makes no sense: ${problem}`);
}
