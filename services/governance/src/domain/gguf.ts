/**
 * A defensive reading of a GGUF header (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3,
 * little-endian: every count and length is bounded and checked against what is there, so that a file made to break a
 * loader is refused before any native code sees it. Weights are not read.
 */

/** The file is not a GGUF that we take; the message says why and shows nothing of it. */
export class GgufError extends Error {
  override readonly name = "GgufError";
}

export interface GgufFacts {
  version: number;
  architecture: string;
  tensors: number;
  /** The longest context that the model was made for; undefined when the file does not say. */
  contextLength: number | undefined;
}

/** The header must lie within this much of the file's beginning. */
export const maxHeaderBytes = 64 * 1024 * 1024;
const maxPairs = 4_096;
const maxTensors = 65_536;
const maxKeyBytes = 256;
const maxStringBytes = 1024 * 1024;
const maxArrayLength = 4_000_000;
const maxDimensions = 4;
const maxElements = 2n ** 40n;
const defaultAlignment = 32;

/** Value types 0 to 12; bytes of the fixed ones. */
const fixedBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const stringType = 8;
const arrayType = 9;

/** ggml type → [elements in a block, bytes of a block]. */
const tensorTypes: Readonly<Record<number, readonly [number, number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  16: [256, 66],
  17: [256, 74],
  18: [256, 98],
  19: [256, 50],
  20: [32, 18],
  21: [256, 110],
  22: [256, 82],
  23: [256, 136],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  29: [256, 56],
  30: [1, 2],
  34: [256, 54],
  35: [256, 66],
};

/** `head`: the file from its beginning, whole or at least maxHeaderBytes of it. Throws GgufError. */
export function checkGguf(head: Uint8Array, fileBytes: number): GgufFacts {
  const cursor = new Cursor(head);
  refuseIf(cursor.text(4) !== "GGUF", "it does not begin with GGUF");
  const version = cursor.u32();
  refuseIf(version !== 2 && version !== 3, "its version is not 2 or 3, little-endian");
  const tensors = cursor.count(maxTensors, "tensors");
  refuseIf(tensors === 0, "it has no tensors");
  const values = readPairs(cursor, cursor.count(maxPairs, "metadata"));
  const architecture = values.get("general.architecture");
  refuseIf(typeof architecture !== "string" || !/^[a-z0-9_-]{1,64}$/.test(architecture), "it names no architecture");
  const alignment = values.get("general.alignment") ?? defaultAlignment;
  refuseIf(!isAlignment(alignment), "its alignment is not a small power of two");
  const spans = readTensors(cursor, tensors);
  checkSpans(spans, alignUp(cursor.offset, alignment as number), alignment as number, fileBytes);
  const contextLength = values.get(`${architecture}.context_length`);
  return {
    version,
    architecture: architecture as string,
    tensors,
    contextLength: typeof contextLength === "number" ? contextLength : undefined,
  };
}

type Value = string | number | undefined;

/** Strings and small numbers; everything else is walked over. */
function readPairs(cursor: Cursor, count: number): Map<string, Value> {
  const values = new Map<string, Value>();
  for (let i = 0; i < count; i += 1) {
    const key = cursor.string(maxKeyBytes);
    refuseIf(!/^[\x21-\x7e]+$/.test(key), "a metadata key is not plain");
    refuseIf(values.has(key), "a metadata key appears twice");
    values.set(key, readValue(cursor, cursor.u32()));
  }
  return values;
}

function readValue(cursor: Cursor, type: number): Value {
  if (type === stringType) return cursor.string(maxStringBytes);
  if (type === arrayType) return skipArray(cursor);
  if (type === 4) return cursor.u32();
  if (type === 10) return Number(cursor.u64());
  const bytes = fixedBytes[type];
  refuseIf(bytes === undefined, "a metadata value has an unknown type");
  cursor.skip(bytes!);
  return undefined;
}

/** Arrays of arrays are allowed by the format and used by nobody: refused. */
function skipArray(cursor: Cursor): undefined {
  const type = cursor.u32();
  const length = cursor.count(maxArrayLength, "array");
  if (type === stringType) {
    for (let i = 0; i < length; i += 1) cursor.skip(cursor.count(maxStringBytes, "string"));
    return undefined;
  }
  const bytes = fixedBytes[type];
  refuseIf(bytes === undefined, "an array has an unknown or nested type");
  cursor.skip(bytes! * length);
  return undefined;
}

interface Span {
  offset: bigint;
  bytes: bigint;
}

function readTensors(cursor: Cursor, count: number): Span[] {
  const names = new Set<string>();
  return Array.from({ length: count }, () => {
    const name = cursor.string(maxKeyBytes);
    refuseIf(names.has(name), "a tensor appears twice");
    names.add(name);
    const dimensions = cursor.u32();
    refuseIf(dimensions < 1 || dimensions > maxDimensions, "a tensor has no or too many dimensions");
    let elements = 1n;
    let row = 0n;
    for (let i = 0; i < dimensions; i += 1) {
      const size = cursor.u64();
      if (i === 0) row = size;
      elements *= size;
      refuseIf(size === 0n || elements > maxElements, "a tensor is empty or too large");
    }
    const type = tensorTypes[cursor.u32()];
    refuseIf(type === undefined, "a tensor has an unknown type");
    const [block, blockBytes] = type!;
    refuseIf(row % BigInt(block) !== 0n, "a tensor's rows are not whole blocks");
    return { offset: cursor.u64(), bytes: (elements / BigInt(block)) * BigInt(blockBytes) };
  });
}

/** Every tensor is aligned, inside the file, and no two overlap. */
function checkSpans(spans: readonly Span[], dataStart: number, alignment: number, fileBytes: number): void {
  let end = 0n;
  for (const { offset, bytes } of [...spans].sort((a, b) => (a.offset < b.offset ? -1 : 1))) {
    refuseIf(offset % BigInt(alignment) !== 0n, "a tensor is not aligned");
    refuseIf(offset < end, "two tensors overlap");
    end = offset + bytes;
    refuseIf(BigInt(dataStart) + end > BigInt(fileBytes), "a tensor ends after the file");
  }
}

function isAlignment(value: Value): boolean {
  return typeof value === "number" && value >= 8 && value <= 65_536 && (value & (value - 1)) === 0;
}

function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function refuseIf(wrong: boolean, why: string): void {
  if (wrong) throw new GgufError(why);
}

class Cursor {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  skip(length: number): number {
    const from = this.offset;
    refuseIf(from + length > this.#bytes.length, "it ends within its header");
    this.offset = from + length;
    return from;
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.skip(8), true);
  }

  count(most: number, what: string): number {
    const value = this.u64();
    refuseIf(value > BigInt(most), `it has too many or too long ${what}`);
    return Number(value);
  }

  text(length: number): string {
    const from = this.skip(length);
    return new TextDecoder("latin1").decode(this.#bytes.subarray(from, from + length));
  }

  string(maxBytes: number): string {
    const length = this.count(maxBytes, "string");
    const from = this.skip(length);
    return new TextDecoder().decode(this.#bytes.subarray(from, from + length));
  }
}
