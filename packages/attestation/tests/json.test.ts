import { describe, expect, test } from "vitest";
import { canonicalBytes, parseCanonical } from "../src/index.ts";

const canonical = (value: unknown) => Buffer.from(canonicalBytes(value)).toString();
const double = (hex: string) => Buffer.from(hex, "hex").readDoubleBE();
const utf8 = (text: string) => new TextEncoder().encode(text);

describe("canonical JSON (RFC 8785)", () => {
  test("writes the example of section 3.2.2", () => {
    const input = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(canonical(JSON.parse(input))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("sorts names by UTF-16 code units (section 3.2.3)", () => {
    const names = ["€", "\r", "\ufb33", "1", "😀", "\u0080", "ö"];
    const sorted = Object.keys(JSON.parse(canonical(Object.fromEntries(names.map((name) => [name, 0])))));
    expect(sorted).toEqual(["1", "\r", "\u0080", "ö", "€", "😀", "\ufb33"]);
    expect(canonical({ "\r": 1, 1: 2 })).toBe('{"\\r":1,"1":2}');
  });

  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
  ])("writes the double %s as %s (appendix B)", (hex, text) => {
    expect(canonical(double(hex))).toBe(text);
  });

  test.each([
    ["not a number", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
    ["a lone surrogate", "\ud800"],
    ["nothing", undefined],
  ])("does not write %s", (_, value) => {
    expect(() => canonicalBytes(value)).toThrow(expect.objectContaining({ code: "FIELD_INVALID" }));
  });

  test.each([
    ["a duplicate name", '{"a":1,"a":1}'],
    ["names out of order", '{"b":1,"a":1}'],
    ["white space", '{"a": 1}'],
    ["a final newline", '{"a":1}\n'],
    ["a byte order mark", '\ufeff{"a":1}'],
    ["another spelling of a number", '{"a":1.0}'],
    ["negative zero", '{"a":-0}'],
    ["a needless escape", '{"a":"\\u0041"}'],
    ["a lone surrogate", '{"a":"\\ud800"}'],
    ["cut off text", '{"a":1'],
  ])("does not read %s", (_, text) => {
    expect(() => parseCanonical(utf8(text))).toThrow(expect.objectContaining({ code: "NOT_CANONICAL" }));
    expect(parseCanonical(utf8('{"a":1,"b":[]}'))).toEqual({ a: 1, b: [] });
  });

  test("does not read bytes that are not UTF-8", () => {
    expect(() => parseCanonical(new Uint8Array([34, 0xff, 34]))).toThrow(
      expect.objectContaining({ code: "NOT_CANONICAL" }),
    );
  });
});
