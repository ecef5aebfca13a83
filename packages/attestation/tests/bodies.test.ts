import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { CompactEncrypt, compactDecrypt } from "jose";
import { describe, expect, test } from "vitest";
import {
  type BodyContext,
  createRequestSecret,
  joinSecret,
  open,
  recipientKid,
  saltedDigest,
  seal,
  unwrapSecret,
  wrapSecret,
} from "../src/index.ts";

const secret = createRequestSecret();
const context: BodyContext = { requestId: "r1", kind: "window", attempt: 1, index: 3 };
const unreadable = expect.objectContaining({ code: "BODY_UNREADABLE" });
const unwrappable = expect.objectContaining({ code: "SECRET_UNREADABLE" });

describe("a sealed body", () => {
  test("opens in its place, whatever its bytes, and never seals the same way twice", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => {
        const sealed = seal(secret, context, bytes);
        expect(sealed.length).toBe(bytes.length + 28);
        expect(open(secret, context, sealed)).toEqual(new Uint8Array(bytes));
        expect(seal(secret, context, bytes)).not.toEqual(sealed);
      }),
    );
  });

  test("does not open in another place, under another key, altered anywhere, or cut short", () => {
    const sealed = seal(secret, context, new Uint8Array(40).fill(7));
    const others = [{ requestId: "r2" }, { kind: "output" }, { attempt: 2 }, { index: 4 }];
    for (const change of others) {
      expect(() => open(secret, { ...context, ...change } as BodyContext, sealed)).toThrow(unreadable);
    }
    expect(() => open(createRequestSecret(), context, sealed)).toThrow(unreadable);
    for (let i = 0; i < sealed.length; i++) {
      const altered = sealed.map((byte, at) => (at === i ? byte ^ 1 : byte));
      expect(() => open(secret, context, altered)).toThrow(unreadable);
      expect(() => open(secret, context, sealed.slice(0, i))).toThrow(unreadable);
    }
  });

  test("has a digest that needs the salt", () => {
    const bytes = new TextEncoder().encode("hello");
    expect(saltedDigest(new Uint8Array(32), bytes)).toMatchInlineSnapshot(
      `"a41de667c15557cbd8acdd71ef0fef5dc73561374baed8330f8adb0e1424cd62"`,
    );
    expect(saltedDigest(secret.salt, bytes)).not.toBe(saltedDigest(createRequestSecret().salt, bytes));
    expect(() => saltedDigest(new Uint8Array(31), bytes)).toThrow(unwrappable);
  });

  test("takes its secret and nonce from the randomness given", () => {
    const zeros = (length: number) => new Uint8Array(length);
    const known = createRequestSecret(zeros);
    expect(joinSecret(known)).toEqual(new Uint8Array(64));
    const sealed = seal(known, context, new TextEncoder().encode("golden"), zeros);
    expect(Buffer.from(sealed).toString("hex")).toMatchInlineSnapshot(
      `"000000000000000000000000a9c82c59280e6008ec6f1bdb3c8d4fe7324b46be4398"`,
    );
    expect(() => createRequestSecret(() => new Uint8Array(10))).toThrow(unwrappable);
  });
});

describe("a wrapped secret", () => {
  const pairs = ["worker", "door2"].map((service) => ({
    service,
    kid: `${service}-1`,
    ...generateKeyPairSync("x25519"),
  }));
  const [worker, door2] = pairs;

  test("opens for each recipient and this request only", async () => {
    const wrapped = wrapSecret(secret, pairs, "r1");
    expect(wrapped.map(({ service, kid }) => ({ service, kid }))).toEqual(
      pairs.map(({ service, kid }) => ({ service, kid })),
    );
    for (const [i, { jwe, kid }] of wrapped.entries()) {
      expect(recipientKid(jwe)).toBe(kid);
      expect(await unwrapSecret(jwe, pairs[i]!.privateKey, "r1")).toEqual(secret);
      await expect(unwrapSecret(jwe, pairs[i]!.privateKey, "r2")).rejects.toThrow(unwrappable);
      await expect(unwrapSecret(jwe, pairs[1 - i]!.privateKey, "r1")).rejects.toThrow(unwrappable);
      const parts = jwe.split(".");
      for (const at of parts.keys()) {
        const flipped = parts[at]!.replace(/^./, (first) => (first === "A" ? "B" : "A"));
        const altered = parts.with(at, flipped).join(".");
        await expect(unwrapSecret(altered, pairs[i]!.privateKey, "r1")).rejects.toThrow(unwrappable);
      }
    }
  });

  test("is a JWE that others open too", async () => {
    const { jwe } = wrapSecret(secret, [worker!], "r1")[0]!;
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, worker!.privateKey);
    expect(plaintext).toEqual(joinSecret(secret));
    expect(protectedHeader).toMatchObject({ alg: "ECDH-ES+A256KW", enc: "A256GCM", kid: worker!.kid });
  });

  test("is refused with another algorithm, compressed, or with content that is no secret", async () => {
    const header = { alg: "ECDH-ES+A256KW", enc: "A256GCM", kid: door2!.kid, sallyport_request: "r1" };
    const make = (changes: object, bytes = joinSecret(secret)) =>
      new CompactEncrypt(bytes).setProtectedHeader({ ...header, ...changes }).encrypt(worker!.publicKey);
    const attempt = async (jwe: Promise<string>) => unwrapSecret(await jwe, worker!.privateKey, "r1");
    expect(await attempt(make({}))).toEqual(secret);
    await expect(attempt(make({ alg: "ECDH-ES" }))).rejects.toThrow(unwrappable);
    await expect(attempt(make({ alg: "ECDH-ES+A128KW" }))).rejects.toThrow(unwrappable);
    await expect(attempt(make({ enc: "A128GCM" }))).rejects.toThrow(unwrappable);
    await expect(attempt(make({ zip: "DEF" }))).rejects.toThrow(unwrappable);
    await expect(attempt(make({}, new Uint8Array(63)))).rejects.toThrow(unwrappable);
    await expect(attempt(make({ sallyport_request: undefined }))).rejects.toThrow(unwrappable);
    await expect(unwrapSecret("a.b.c", worker!.privateKey, "r1")).rejects.toThrow(unwrappable);
  });
});
