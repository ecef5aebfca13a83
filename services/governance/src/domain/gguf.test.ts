import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GgufParts, ggufFile, text, u32, u64 } from "../../tests/gguf-file.ts";
import { checkGguf, GgufError } from "./gguf.ts";

const check = (parts: GgufParts) => {
  const file = ggufFile(parts);
  return checkGguf(file, file.length);
};
const architecture: [string, number, Buffer] = ["general.architecture", 8, text("llama")];

describe("checkGguf", () => {
  it("takes a sound file and says what it is", () => {
    expect(check({})).toEqual({ version: 3, architecture: "llama", tensors: 1, contextLength: 1_024 });
    expect(check({ version: 2 }).version).toBe(2);
  });

  it("walks over values of every type", () => {
    const pairs: GgufParts["pairs"] = [
      architecture,
      ["a", 7, Buffer.from([1])],
      ["b", 6, u32(1)],
      ["c", 12, u64(1)],
      ["strings", 9, Buffer.concat([u32(8), u64(2), text("x"), text("y")])],
      ["numbers", 9, Buffer.concat([u32(5), u64(3), u32(1), u32(2), u32(3)])],
    ];
    expect(check({ pairs }).contextLength).toBeUndefined();
  });

  it.each<[string, GgufParts]>([
    ["another magic", { magic: "GGML" }],
    ["version 1", { version: 1 }],
    ["big-endian", { version: 0x03000000 }],
    ["no tensors", { tensors: [] }],
    ["a count of tensors that nothing follows", { tensorCount: 60_000n }],
    ["more tensors than any model", { tensorCount: 1n << 40n }],
    ["more metadata than any model", { pairCount: 1n << 63n }],
    ["no architecture", { pairs: [["x", 4, u32(1)]] }],
    ["an architecture that is no name", { pairs: [["general.architecture", 8, text("../../x")]] }],
    ["a key twice", { pairs: [architecture, architecture] }],
    ["a key with a line break", { pairs: [architecture, ["a\nb", 4, u32(1)]] }],
    ["an unknown value type", { pairs: [architecture, ["a", 13, u32(1)]] }],
    ["a string longer than the file", { pairs: [architecture, ["a", 8, u64(1n << 20n)]] }],
    ["a string of absurd length", { pairs: [architecture, ["a", 8, u64((1n << 64n) - 1n)]] }],
    ["an array longer than the file", { pairs: [architecture, ["a", 9, Buffer.concat([u32(4), u64(3_000_000n)])]] }],
    ["nested arrays", { pairs: [architecture, ["a", 9, Buffer.concat([u32(9), u64(1n), u32(4), u64(0n)])]] }],
    ["an alignment of zero", { pairs: [architecture, ["general.alignment", 4, u32(0)]] }],
    ["an alignment that is no power of two", { pairs: [architecture, ["general.alignment", 4, u32(24)]] }],
    ["a tensor without dimensions", { tensors: [{ sizes: [] }] }],
    ["a tensor of five dimensions", { tensors: [{ sizes: [1n, 1n, 1n, 1n, 1n] }] }],
    ["a tensor with an empty dimension", { tensors: [{ sizes: [4n, 0n] }] }],
    ["a tensor whose size overflows", { tensors: [{ sizes: [1n << 62n, 1n << 62n] }] }],
    ["a tensor of unknown type", { tensors: [{ type: 4 }] }],
    ["a quantised tensor with a broken block", { tensors: [{ type: 2, sizes: [31n] }] }],
    ["a tensor after the end", { tensors: [{ offset: 32n }] }],
    ["a tensor at a crooked offset", { tensors: [{ offset: 4n }], data: 64 }],
    ["two tensors in one place", { tensors: [{ name: "a" }, { name: "b" }], data: 64 }],
    ["two tensors of one name", { tensors: [{ name: "a" }, { name: "a", offset: 32n }], data: 64 }],
  ])("refuses %s", (_what, parts) => {
    expect(() => check(parts)).toThrow(GgufError);
  });

  it("says yes or GgufError to anything, cut and changed anywhere", () => {
    const sound = ggufFile();
    const changed = fc.record({
      at: fc.nat(sound.length - 1),
      value: fc.nat(255),
      length: fc.integer({ min: 0, max: sound.length }),
    });
    fc.assert(
      fc.property(changed, ({ at, value, length }) => {
        const file = Buffer.from(sound.subarray(0, length));
        if (at < length) file[at] = value;
        try {
          checkGguf(file, file.length);
        } catch (error) {
          expect(error).toBeInstanceOf(GgufError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
