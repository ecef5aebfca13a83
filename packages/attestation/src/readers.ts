import { invalid } from "./json.ts";

/** Checks an unknown value and returns it typed, or throws FIELD_INVALID naming the field. */
export type Reader<T> = (value: unknown, field: string) => T;

type Shape = Record<string, Reader<unknown>>;
type Read<R> = R extends Reader<infer T> ? T : never;
type ReadShape<S extends Shape> = { [K in keyof S]: Read<S[K]> };

/** An object with exactly these fields: a missing, extra or malformed one is refused. */
export function object<R extends Shape, O extends Shape = Record<never, never>>(
  required: R,
  optional: O = {} as O,
): Reader<ReadShape<R> & Partial<ReadShape<O>>> {
  return (value, field) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(field, "must be an object");
    const found = value as Record<string, unknown>;
    for (const name of Object.keys(found)) {
      if (!Object.hasOwn(required, name) && !Object.hasOwn(optional, name)) {
        throw invalid(join(field, name.slice(0, 64)), "is not a known field");
      }
    }
    const result: Record<string, unknown> = {};
    for (const [name, read] of Object.entries(required)) {
      if (!Object.hasOwn(found, name)) throw invalid(join(field, name), "is missing");
      result[name] = read(found[name], join(field, name));
    }
    for (const [name, read] of Object.entries(optional)) {
      if (Object.hasOwn(found, name)) result[name] = read(found[name], join(field, name));
    }
    return result as ReadShape<R> & Partial<ReadShape<O>>;
  };
}

export function array<T>(item: Reader<T>, min: number, max: number): Reader<T[]> {
  return (value, field) => {
    if (!Array.isArray(value)) throw invalid(field, "must be a list");
    if (value.length < min || value.length > max) throw invalid(field, `must have ${min} to ${max} entries`);
    return value.map((entry, i) => item(entry, `${field}[${i}]`));
  };
}

export function nullable<T>(inner: Reader<T>): Reader<T | null> {
  return (value, field) => (value === null ? null : inner(value, field));
}

export function oneOf<const T extends string>(allowed: readonly T[]): Reader<T> {
  return (value, field) => {
    if (!allowed.includes(value as T)) throw invalid(field, `must be one of ${allowed.join(", ")}`);
    return value as T;
  };
}

export function text(pattern: RegExp): Reader<string> {
  return (value, field) => {
    if (typeof value !== "string" || !pattern.test(value)) throw invalid(field, `must match ${pattern.source}`);
    return value;
  };
}

export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, field) => {
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      throw invalid(field, `must be an integer from ${min} to ${max}`);
    }
    return value as number;
  };
}

export const flag: Reader<boolean> = (value, field) => {
  if (typeof value !== "boolean") throw invalid(field, "must be true or false");
  return value;
};

/** UTC with milliseconds, as Date.prototype.toISOString writes it: one spelling for one instant. */
export const instant: Reader<string> = (value, field) => {
  const time = typeof value === "string" && value.length === 24 ? new Date(value) : undefined;
  if (time === undefined || Number.isNaN(time.getTime()) || time.toISOString() !== value) {
    throw invalid(field, "must be a UTC time such as 2026-01-01T00:00:00.000Z");
  }
  return value as string;
};

/** SHA-256 in lower-case hexadecimal. */
export const digest = text(/^[0-9a-f]{64}$/);
/** A request id or run id. */
export const identifier = text(/^[A-Za-z0-9_-]{1,64}$/);
/** A tenant, service, engine, public code, category or layer. */
export const token = text(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/);
/** Printable text of a person's or key's name; no control characters. */
export const label = text(/^[^\p{C}]{1,256}$/u);

function join(field: string, name: string): string {
  return field === "" ? name : `${field}.${name}`;
}
