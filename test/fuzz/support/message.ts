/** Protobuf bytes after a message's own description: its fields with plausible values, with wrong ones, and what is no field of it. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc, { type Arbitrary } from "fast-check";
import { anyText, damaged } from "./text.ts";

const maxDepth = 3;

/** Encoded, good or bad. `known`: texts that mean something to who reads it, such as ids. */
export function messageBytes(schema: DescMessage, known: readonly string[] = []): Arbitrary<Uint8Array> {
  const shaped = fieldsOf(schema, known, 0);
  return fc.oneof(
    { weight: 4, arbitrary: shaped },
    { weight: 2, arbitrary: shaped.chain(damaged) },
    { weight: 2, arbitrary: fc.tuple(shaped, strangeField).map(([bytes, strange]) => Buffer.concat([bytes, strange])) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    { weight: 1, arbitrary: fc.tuple(strangeField, fc.nat({ max: 3_000 })).map(([one, times]) => repeat(one, times)) },
  );
}

function fieldsOf(schema: DescMessage, known: readonly string[], depth: number): Arbitrary<Uint8Array> {
  const parts = schema.fields.map((field) =>
    fc.option(fieldBytes(field, known, depth), { nil: new Uint8Array(), freq: 4 }),
  );
  return fc.tuple(...parts).map((found) => Buffer.concat(found as Uint8Array[]));
}

function fieldBytes(field: DescField, known: readonly string[], depth: number): Arbitrary<Uint8Array> {
  const one = writerOf(field, known, depth).map((write) => written(field.number, write));
  if (field.fieldKind !== "list") return fc.oneof({ weight: 9, arbitrary: one }, wrongType(field.number));
  return fc.oneof(
    { weight: 9, arbitrary: fc.array(one, { maxLength: 3 }).map((each) => Buffer.concat(each)) },
    fc.tuple(one, fc.nat({ max: 2_000 })).map(([bytes, times]) => repeat(bytes, times)),
  );
}

type Write = (writer: BinaryWriter, number: number) => BinaryWriter;

function writerOf(field: DescField, known: readonly string[], depth: number): Arbitrary<Write> {
  const kind = field.fieldKind === "list" ? field.listKind : field.fieldKind;
  if (kind === "message") {
    const inner = field.message!;
    const bytes = depth < maxDepth ? fieldsOf(inner, known, depth + 1) : fc.constant(new Uint8Array());
    return bytes.map((each) => (writer, number) => writer.tag(number, WireType.LengthDelimited).bytes(each));
  }
  if (kind === "scalar") return scalarOf(field.scalar!, known);
  return varint.map((value) => (writer, number) => writer.tag(number, WireType.Varint).int64(value));
}

const varint = fc.oneof(fc.bigInt({ min: -3n, max: 5n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));

function scalarOf(type: ScalarType, known: readonly string[]): Arbitrary<Write> {
  if (type === ScalarType.STRING) {
    const texts = fc.oneof(
      anyText.map((text) => Buffer.from(text)),
      fc.constantFrom("", "a", "\0", "*.>", ...known).map((text) => Buffer.from(text)),
    );
    const bytes = fc.oneof(
      { weight: 9, arbitrary: texts },
      fc.constant(Buffer.from([0xc3, 0x28, 0xff])),
      fc.constant(Buffer.alloc(9_000, 0x61)),
    );
    return bytes.map((each) => (writer, number) => writer.tag(number, WireType.LengthDelimited).bytes(each));
  }
  if (type === ScalarType.BYTES) {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.constant(Buffer.alloc(9_000, 1)));
    return bytes.map((each) => (writer, number) => writer.tag(number, WireType.LengthDelimited).bytes(each));
  }
  if (type === ScalarType.DOUBLE || type === ScalarType.FLOAT) {
    return fc
      .double()
      .map(
        (value) => (writer, number) =>
          type === ScalarType.DOUBLE
            ? writer.tag(number, WireType.Bit64).double(value)
            : writer.tag(number, WireType.Bit32).fixed32(Math.abs(Math.trunc(value % 2 ** 31)) || 0),
      );
  }
  return varint.map((value) => (writer, number) => writer.tag(number, WireType.Varint).int64(value));
}

function written(number: number, write: Write): Uint8Array {
  return write(new BinaryWriter(), number).finish();
}

/** The field's number with another type of field. */
function wrongType(number: number): Arbitrary<Uint8Array> {
  return fc.nat({ max: 7 }).map((type) => Buffer.concat([tag(number, type), Buffer.from([1, 1, 1, 1, 1, 1, 1, 1])]));
}

/** A field with any number, known or not, of any type, with as much behind it as it says, or less. */
const strangeField: Arbitrary<Uint8Array> = fc
  .tuple(
    fc.oneof(fc.nat({ max: 40 }), fc.constantFrom(0, 536_870_911)),
    fc.nat({ max: 7 }),
    fc.oneof(fc.nat({ max: 300 }), fc.constant(2 ** 31 - 1)),
    fc.uint8Array({ maxLength: 300 }),
  )
  .map(([number, type, length, bytes]) => {
    const size = type === WireType.LengthDelimited ? new BinaryWriter().uint32(length).finish() : new Uint8Array();
    return Buffer.concat([tag(number, type), size, bytes]);
  });

function tag(number: number, type: number): Uint8Array {
  return new BinaryWriter().uint32(((number << 3) | type) >>> 0).finish();
}

const repeat = (bytes: Uint8Array, times: number) => Buffer.concat(Array<Uint8Array>(times).fill(bytes));
