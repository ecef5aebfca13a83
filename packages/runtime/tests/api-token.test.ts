import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  apiTokenKey,
  createApiToken,
  hashApiToken,
  isApiToken,
  matchesApiToken,
  parseApiToken,
  systemIds,
} from "../src/index.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

describe("API tokens", () => {
  test("have the documented form, and only their hash need be kept", () => {
    const { id, token, hash } = createApiToken(systemIds);
    expect(token).toMatch(/^sp_[0-9a-f]{16}_[A-Za-z0-9_-]{43}[0-9a-f]{6}$/);
    expect(token.slice(3, 19)).toBe(id);
    expect(token.slice(-6)).toBe(sha256(token.slice(0, -6)).slice(0, 6));
    expect(hash).toBe(sha256(token));
    expect(isApiToken(token)).toBe(true);
    expect(parseApiToken(token)).toEqual({ id });
    expect(matchesApiToken(token, hash)).toBe(true);
    expect(matchesApiToken(createApiToken(systemIds).token, hash)).toBe(false);
    expect(matchesApiToken(token, "")).toBe(false);
  });

  test("are made of the random bytes alone: a fixed token for those who read them elsewhere", () => {
    const { token } = createApiToken({ bytes: (count) => new Uint8Array(count).fill(7) });
    expect(token.slice(0, -6)).toBe("sp_0707070707070707_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
    expect(token).toBe(`${token.slice(0, -6)}${sha256(token.slice(0, -6)).slice(0, 6)}`);
  });

  test("that were mistyped, cut, padded or made up are told apart without a lookup", () => {
    const { token } = createApiToken(systemIds);
    for (let at = 0; at < token.length; at += 1) {
      const other = token[at] === "0" ? "1" : "0";
      expect(parseApiToken(`${token.slice(0, at)}${other}${token.slice(at + 1)}`)).toBeUndefined();
      expect(parseApiToken(token.slice(0, at))).toBeUndefined();
    }
    for (const wrong of [`${token}0`, `${token}\n`, ` ${token}`, token.toUpperCase(), "", "sp_", "a.b.c"])
      expect(parseApiToken(wrong)).toBeUndefined();
    expect(isApiToken("a.b.c")).toBe(false);
  });

  test("lie in the shard that their first digit names", () => {
    const keys = [..."0123456789abcdef"].map((digit) => apiTokenKey(`${digit}${"0".repeat(15)}`));
    expect(keys).toEqual([..."0011223344556677"].map((shard) => `tokens-${shard}`));
    for (const wrong of ["", "0", "G".repeat(16), "A".repeat(16)]) expect(() => apiTokenKey(wrong)).toThrow(RangeError);
    expect(hashApiToken("")).toHaveLength(64);
  });
});
