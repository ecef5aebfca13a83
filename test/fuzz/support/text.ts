/** Texts and bytes that are almost right: what a parser takes is changed a little, or nested, repeated and blown up. */
import fc, { type Arbitrary } from "fast-check";

/** Any code units, half surrogate pairs too: fast-check's own takes seconds to set up. */
export const anyText: Arbitrary<string> = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => Buffer.from(bytes).toString("utf16le"));

/** Values that have broken parsers before. */
export const oddJson: Arbitrary<string> = fc.oneof(
  fc.json({ maxDepth: 3 }),
  fc.constantFrom(
    "null",
    "true",
    "-0",
    "1e400",
    "-1e400",
    "1e-400",
    "0.1e1",
    "12345678901234567890123456789012345678901234567890",
    "9007199254740993",
    "4294967296",
    "-1",
    "NaN",
    "Infinity",
    "01",
    "1.",
    "0x10",
    '""',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\x41"',
    '"a\nb"',
    '"\u2028\u202e\ufeff"',
    "[]",
    "{}",
    "[[]]",
    '{"__proto__":{"x":1}}',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"toString":1,"hasOwnProperty":2,"then":3,"length":-1}',
    '{"toJSON":1,"valueOf":2}',
    "",
    "undefined",
    "/**/1",
    "'a'",
  ),
  fc.nat({ max: 3_000 }).map((depth) => "[".repeat(depth) + "]".repeat(depth)),
  fc.nat({ max: 3_000 }).map((depth) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`),
  fc.nat({ max: 3_000 }).map((count) => `[${Array(count).fill('"x"').join(",")}]`),
  fc.nat({ max: 3_000 }).map((count) => `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(",")}}`),
  fc.nat({ max: 20_000 }).map((length) => JSON.stringify("é".repeat(length))),
);

/** JSON text of `value` with one member somewhere replaced, repeated, added or left out. */
export function bent(value: unknown): Arbitrary<string> {
  const paths = pathsOf(value);
  const change = fc.constantFrom("replace", "repeat", "add", "omit", "rename");
  return fc
    .tuple(fc.constantFrom(...paths), change, oddJson, fc.constantFrom("__proto__", "x", "", "model", "\\u0000"))
    .map(([path, how, odd, name]) => write(value, path, how, odd, name));
}

type Path = readonly (string | number)[];

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [at];
  const keys = Array.isArray(value) ? value.map((_, i) => i) : Object.keys(value);
  return [at, ...keys.flatMap((key) => pathsOf((value as Record<string | number, unknown>)[key], [...at, key]))];
}

function write(value: unknown, path: Path, how: string, odd: string, name: string): string {
  if (path.length === 0) return how === "replace" ? odd : JSON.stringify(value);
  const [key, ...rest] = path;
  const entries = Object.entries(value as object).flatMap(([each, inner]): [string, string][] => {
    if (each !== String(key)) return [[each, JSON.stringify(inner)]];
    if (rest.length > 0) return [[each, write(inner, rest, how, odd, name)]];
    const same: [string, string] = [each, JSON.stringify(inner)];
    if (how === "omit") return [];
    if (how === "rename") return [[name, same[1]]];
    if (how === "replace") return [[each, odd]];
    return how === "repeat" ? [[each, odd], same] : [same, [name, odd]];
  });
  if (Array.isArray(value)) return `[${entries.map(([, text]) => text).join(",")}]`;
  return `{${entries.map(([each, text]) => `"${each}":${text}`).join(",")}}`;
}

/** The same bytes with some of them cut out, repeated, turned over or replaced. */
export function damaged(bytes: Uint8Array): Arbitrary<Uint8Array> {
  const place = fc.nat({ max: Math.max(0, bytes.length - 1) });
  const change = fc.tuple(
    place,
    fc.constantFrom("cut", "flip", "insert", "drop", "double"),
    fc.uint8Array({ maxLength: 8 }),
  );
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => changes.reduce(apply, Buffer.from(bytes)));
}

function apply(bytes: Buffer, [place, how, other]: [number, string, Uint8Array]): Buffer {
  const at = Math.min(place, bytes.length);
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  if (how === "cut") return head;
  if (how === "flip" && tail.length > 0)
    return Buffer.concat([head, Uint8Array.of(tail[0]! ^ (1 << (other.length % 8))), tail.subarray(1)]);
  if (how === "insert") return Buffer.concat([head, other, tail]);
  if (how === "drop") return Buffer.concat([head, tail.subarray(other.length)]);
  return Buffer.concat([head, tail.subarray(0, 64), tail]);
}
