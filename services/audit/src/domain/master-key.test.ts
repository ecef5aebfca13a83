import { randomBytes } from "node:crypto";
import { createRequestSecret } from "@sallyport/attestation";
import { describe, expect, it } from "vitest";
import { createMasterKey } from "./master-key.ts";

const master = createMasterKey(randomBytes(32).toString("hex"));
const secret = createRequestSecret();

describe("the vault's master key", () => {
  it("opens what it wrapped", () => {
    expect(master.unwrap(master.wrap(secret, "r1"), "r1")).toEqual(secret);
  });

  it("opens nothing for another request, under another key, or with any bit flipped", () => {
    const wrapped = master.wrap(secret, "r1");
    expect(() => master.unwrap(wrapped, "r2")).toThrow();
    expect(() => createMasterKey(randomBytes(32).toString("hex")).unwrap(wrapped, "r1")).toThrow();
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      const flipped = wrapped.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => master.unwrap(flipped, "r1")).toThrow();
    }
    for (const length of [0, 12, 28, wrapped.length - 1])
      expect(() => master.unwrap(wrapped.slice(0, length), "r1")).toThrow();
  });

  it.each(["", "00", "G".repeat(64), "AB".repeat(32)])("is never made from %j", (hex) => {
    expect(() => createMasterKey(hex)).toThrow(TypeError);
  });
});
