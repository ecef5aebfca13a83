import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  createSigner,
  createTrustBundle,
  decodeEnvelopeJson,
  encodeEnvelopeJson,
  keyIdOf,
  loadTrustBundle,
  readRootKey,
  signEnvelope,
  signState,
  TRUST_PAYLOAD_TYPE,
  type TrustContents,
  type TrustKey,
  verifyState,
} from "../src/index.ts";
import { after, createWorld, NOW } from "./fixture.ts";

const world = createWorld();
const { contents, root, trust } = world;
const door1 = contents.keys.find((key) => key.service === "pre-moderator" && key.notAfter > after(0))!;
const refused = (code: string) => expect.objectContaining({ code });
const create = (changes: Partial<TrustContents>) => createTrustBundle({ ...contents, ...changes }, root.privateKey);
const withKey = (changes: Partial<TrustKey>) => ({ keys: [{ ...door1, ...changes }] });

test("the operator's key is read from a public key alone: whoever hands over the private one by mistake is told", () => {
  const pem = (key: KeyObject) =>
    key.export({ type: key.type === "private" ? "pkcs8" : "spki", format: "pem" }).toString();
  expect(keyIdOf(readRootKey(pem(root.publicKey)))).toBe(keyIdOf(root.publicKey));
  expect(() => readRootKey(pem(root.privateKey))).toThrow(refused("KEY_INVALID"));
  expect(() => readRootKey(pem(generateKeyPairSync("x25519").publicKey))).toThrow(refused("KEY_INVALID"));
  expect(() => readRootKey("no PEM")).toThrow();
});

describe("trust bundle", () => {
  test("appoints each key for its stage and time, and for nothing else", () => {
    const { keyid } = world.signers.door1;
    expect(keyIdOf(trust.keyFor(keyid, "door1", NOW))).toBe(keyid);
    expect(trust.serviceOf(keyid)).toBe("pre-moderator");
    expect(() => trust.keyFor(keyid, "door2", NOW)).toThrow(refused("WRONG_STAGE"));
    expect(() => trust.keyFor(keyid, "door1", new Date(after(86_400)))).toThrow(refused("KEY_NOT_VALID"));
    expect(() => trust.keyFor(keyid, "door1", new Date(Number.NaN))).toThrow(refused("KEY_NOT_VALID"));
    expect(() => trust.keyFor(world.retired.door1.keyid, "door1", NOW)).toThrow(refused("KEY_NOT_VALID"));
    expect(() => trust.keyFor(world.strangers.door1.keyid, "door1", NOW)).toThrow(refused("UNKNOWN_KEY"));
  });

  test("comes from the operator's root key alone: no appointed key can appoint another", () => {
    const { payload } = decodeEnvelopeJson(world.bundle);
    const load = (signer: (typeof world.signers)["state"]) =>
      loadTrustBundle(encodeEnvelopeJson(signEnvelope(TRUST_PAYLOAD_TYPE, payload, signer)), root.publicKey, NOW);
    for (const signer of Object.values(world.signers)) expect(() => load(signer)).toThrow(refused("UNKNOWN_KEY"));
    const lie = { ...world.signers.state, keyid: keyIdOf(root.publicKey) };
    expect(() => load(lie)).toThrow(refused("BAD_SIGNATURE"));
    expect(load(createSigner(root.privateKey, "root")).version).toBe(3);
  });

  test("is refused when it is older than one already seen, expired, or from the future", () => {
    const load = (now: string, min?: number) => loadTrustBundle(world.bundle, root.publicKey, new Date(now), min);
    expect(() => load(after(0), 4)).toThrow(refused("TRUST_ROLLBACK"));
    expect(load(after(0), 3).version).toBe(3);
    expect(() => load(contents.expiresAt)).toThrow(refused("TRUST_EXPIRED"));
    expect(() => load(after(-86_400 * 2))).toThrow(refused("NOT_YET_VALID"));
    expect(() => load("never")).toThrow(refused("TRUST_EXPIRED"));
  });

  test.each<[string, Partial<TrustContents>, string]>([
    ["a key id that is not the key's", withKey({ keyid: "0".repeat(32) }), "TRUST_INVALID"],
    ["a key twice", { keys: [door1, door1] }, "TRUST_INVALID"],
    ["one key for both doors", withKey({ stages: ["door1", "door2"] }), "TRUST_INVALID"],
    ["one key for review and countersignature", withKey({ stages: ["review", "countersign"] }), "TRUST_INVALID"],
    ["one key for governance's state and break-glass", withKey({ stages: ["state", "switch"] }), "TRUST_INVALID"],
    ["one key for review and break-glass", withKey({ stages: ["review", "switch"] }), "TRUST_INVALID"],
    ["one service for both doors", { keys: contents.keys.map((key) => ({ ...key, service: "one" })) }, "TRUST_INVALID"],
    ["a key whose time ends before it begins", withKey({ notAfter: door1.notBefore }), "TRUST_INVALID"],
    ["no keys", { keys: [] }, "FIELD_INVALID"],
    ["an unknown stage", withKey({ stages: ["root" as "state"] }), "FIELD_INVALID"],
    ["something that is no key", withKey({ publicKey: "AAAA" }), "KEY_INVALID"],
    ["an unknown field", { extra: 1 } as Partial<TrustContents>, "FIELD_INVALID"],
  ])("is not made with %s", (_, changes, code) => {
    expect(() => create(changes)).toThrow(refused(code));
    expect(() => create({})).not.toThrow();
  });

  test("never lets the root key serve a stage", () => {
    const publicKey = root.publicKey.export({ type: "spki", format: "der" }).toString("base64");
    const own = withKey({ publicKey, keyid: keyIdOf(root.publicKey) });
    expect(() => create(own)).toThrow(refused("TRUST_INVALID"));
  });

  test("names encryption keys and logs", () => {
    const x = generateKeyPairSync("x25519").publicKey.export({ format: "jwk" }).x!;
    const logs = [{ origin: "log.example/1", vkey: "log.example/1+0a1b2c3d+AAAA" }];
    const encryption = [{ service: "inference-worker", kid: "w1", publicKey: x }];
    const bundle = loadTrustBundle(create({ logs, encryption }), root.publicKey, NOW);
    expect(bundle.encryptionKey("inference-worker").publicKey.export({ format: "jwk" }).x).toBe(x);
    expect(bundle.logs).toEqual(logs);
    expect(() => bundle.encryptionKey("gateway")).toThrow(refused("UNKNOWN_KEY"));
    const twice = [...encryption, { ...encryption[0]!, kid: "w2" }];
    expect(() => create({ encryption: twice })).toThrow(refused("TRUST_INVALID"));
  });
});

describe("signed state", () => {
  const value = { bucket: "switches", key: "tenant.acme", version: 5, value: { paused: true }, issuedAt: after(0) };
  const expected = { bucket: "switches", key: "tenant.acme", minVersion: 5, now: NOW };
  const envelope = signState(world.signers.state, value);

  test("is accepted in its place, at its version or above", () => {
    expect(verifyState(envelope, trust, expected)).toEqual(value);
    expect(verifyState(envelope, trust, { ...expected, minVersion: 1 }).version).toBe(5);
  });

  test("is refused in another place, older than seen, from the future, and from any key not appointed for state", () => {
    const verify =
      (changes: object, signed = envelope) =>
      () =>
        verifyState(signed, trust, { ...expected, ...changes });
    expect(verify({ minVersion: 6 })).toThrow(refused("STATE_ROLLBACK"));
    expect(verify({ minVersion: Number.NaN })).toThrow(refused("STATE_ROLLBACK"));
    expect(verify({ bucket: "models" })).toThrow(refused("STATE_MISMATCH"));
    expect(verify({ key: "tenant.other" })).toThrow(refused("STATE_MISMATCH"));
    expect(verify({ now: new Date(after(-60)) })).toThrow(refused("NOT_YET_VALID"));
    expect(verify({ now: new Date(contents.expiresAt) })).toThrow(refused("TRUST_EXPIRED"));
    for (const signer of [world.signers.door2, world.signers.worker]) {
      expect(verify({}, signState({ ...signer, stage: "state" }, value))).toThrow(refused("WRONG_STAGE"));
    }
    expect(verify({}, signState(world.strangers.state, value))).toThrow(refused("UNKNOWN_KEY"));
    expect(verify({}, signState(world.retired.state, value))).toThrow(refused("KEY_NOT_VALID"));
    const forged = { ...envelope, payload: envelope.payload.map((byte, i) => (i === 20 ? byte ^ 1 : byte)) };
    expect(verify({}, forged)).toThrow(refused("BAD_SIGNATURE"));
    expect(() => signState(world.signers.door1, value)).toThrow(refused("WRONG_STAGE"));
  });
});

describe("break-glass", () => {
  const place = { bucket: "switches", key: "break-glass" };
  const value = { ...place, version: 1, value: { switches: [] }, issuedAt: after(0) };
  const expected = { ...place, minVersion: 1, now: NOW };
  const { state, switch: operator } = world.signers;

  test("is the operator's own: its key signs it, governance's key does not", () => {
    expect(verifyState(signState(operator, value), trust, expected)).toEqual(value);
    expect(() => signState(state, value)).toThrow(refused("WRONG_STAGE"));
    const claimed = signState({ ...state, stage: "switch" }, value);
    expect(() => verifyState(claimed, trust, expected)).toThrow(refused("WRONG_STAGE"));
  });

  test.each([
    ["the switches of governance", "switches", "active"],
    ["the policy", "policy", "active"],
    ["the models", "models", "manifest"],
    ["the API tokens", "credentials", "tokens-0"],
    ["the certificates", "credentials", "certificates"],
    ["a key of that name elsewhere", "policy", "break-glass"],
    ["a key beside it", "switches", "break-glass.2"],
  ])("key signs nothing else: not %s", (_, bucket, key) => {
    const other = { ...value, bucket, key };
    expect(() => signState(operator, other)).toThrow(refused("WRONG_STAGE"));
    const forged = signState({ ...operator, stage: "state" }, other);
    expect(() => verifyState(forged, trust, { ...expected, bucket, key })).toThrow(refused("WRONG_STAGE"));
    expect(verifyState(signState(state, other), trust, { ...expected, bucket, key })).toEqual(other);
  });

  test("always leaves room for the next one: a version far ahead of its own time is refused", () => {
    const verify = (version: number) => verifyState(signState(operator, { ...value, version }), trust, expected);
    const dayMs = 86_400_000;
    expect(verify(NOW.getTime() + dayMs).version).toBe(NOW.getTime() + dayMs);
    for (const version of [NOW.getTime() + dayMs + 1, 9e15, Number.MAX_SAFE_INTEGER])
      expect(() => verify(version)).toThrow(refused("FIELD_INVALID"));
    const counted = { ...value, key: "active", version: Number.MAX_SAFE_INTEGER };
    expect(verifyState(signState(state, counted), trust, { ...expected, key: "active" })).toEqual(counted);
  });

  test("of a retired key, a strange key, or put in another place is refused", () => {
    const { switch: retired } = world.retired;
    const { switch: stranger } = world.strangers;
    expect(() => verifyState(signState(retired, value), trust, expected)).toThrow(refused("KEY_NOT_VALID"));
    expect(() => verifyState(signState(stranger, value), trust, expected)).toThrow(refused("UNKNOWN_KEY"));
    const moved = { ...expected, key: "active" };
    expect(() => verifyState(signState(operator, value), trust, moved)).toThrow(refused("STATE_MISMATCH"));
    expect(() => verifyState(signState(operator, value), trust, { ...expected, minVersion: 2 })).toThrow(
      refused("STATE_ROLLBACK"),
    );
  });
});
