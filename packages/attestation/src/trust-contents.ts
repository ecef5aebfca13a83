import { createPublicKey, type KeyObject } from "node:crypto";
import { keyIdOf } from "./dsse.ts";
import { AttestationError } from "./errors.ts";
import { decodeBase64, parseCanonical } from "./json.ts";
import { array, instant, integer, object, oneOf, text, token } from "./readers.ts";
import { KEY_STAGES, type KeyStage, ROLES } from "./vocabulary.ts";

const keyEntry = object({
  keyid: text(/^[0-9a-f]{32}$/),
  service: token,
  stages: array(oneOf(KEY_STAGES), 1, KEY_STAGES.length),
  publicKey: text(/^[A-Za-z0-9+/=]{1,128}$/),
  notBefore: instant,
  notAfter: instant,
});
const encryptionEntry = object({ service: token, kid: token, publicKey: text(/^[A-Za-z0-9_-]{43}$/) });
const logEntry = object({
  origin: text(/^[^\s+\p{C}]{1,256}$/u),
  vkey: text(/^[^\s+\p{C}]{1,256}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{1,128}$/u),
});
const contents = object({
  version: integer(1),
  issuedAt: instant,
  expiresAt: instant,
  keys: array(keyEntry, 1, 128),
  encryption: array(encryptionEntry, 0, 32),
  logs: array(logEntry, 0, 16),
});

/** One signing key: publicKey is base64 SPKI DER, valid from notBefore (inclusive) to notAfter (exclusive). */
export type TrustKey = ReturnType<typeof keyEntry>;
/** The X25519 key that data keys are wrapped to: base64url of the 32 raw bytes. */
export type TrustEncryptionKey = ReturnType<typeof encryptionEntry>;
/** A transparency log: checkpoint origin and its signed-note verifier key (C2SP signed-note). */
export type TrustLog = ReturnType<typeof logEntry>;
export type TrustContents = ReturnType<typeof contents>;

/** Ed25519 public key of base64 SPKI DER. */
export function importSigningKey(base64: string, field: string): KeyObject {
  const der = decodeBase64(base64, field);
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    const same = Buffer.compare(key.export({ format: "der", type: "spki" }), der) === 0;
    if (key.asymmetricKeyType === "ed25519" && same) return key;
  } catch (cause) {
    throw new AttestationError("KEY_INVALID", `${field} is not a public key`, { cause, field });
  }
  throw new AttestationError("KEY_INVALID", `${field} is not an Ed25519 public key`, { field });
}

/** X25519 public key of 32 raw bytes in base64url (RFC 8037 `x`). */
export function importEncryptionKey(x: string, field: string): KeyObject {
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "X25519", x }, format: "jwk" });
  } catch (cause) {
    throw new AttestationError("KEY_INVALID", `${field} is not an X25519 public key`, { cause, field });
  }
}

/** Decodes and checks everything but the signature. Throws NOT_CANONICAL, FIELD_INVALID, KEY_INVALID, TRUST_INVALID. */
export function decodeTrustContents(payload: Uint8Array, rootKeyId: string): TrustContents {
  const trust = contents(parseCanonical(payload), "");
  refuseIf(Date.parse(trust.expiresAt) <= Date.parse(trust.issuedAt), "expiresAt must be after issuedAt");
  refuseIf(hasTwins(trust.keys.map((key) => key.keyid)), "a key id appears twice");
  refuseIf(hasTwins(trust.encryption.map((key) => key.service)), "a service has two encryption keys");
  refuseIf(hasTwins(trust.logs.map((log) => log.origin)), "a log appears twice");
  for (const [i, key] of trust.keys.entries()) {
    const computed = keyIdOf(importSigningKey(key.publicKey, `keys[${i}].publicKey`));
    refuseIf(computed !== key.keyid, `keys[${i}].keyid is not this key's id`);
    refuseIf(key.keyid === rootKeyId, "the root key must not serve a stage");
    refuseIf(Date.parse(key.notAfter) <= Date.parse(key.notBefore), `keys[${i}].notAfter must be after notBefore`);
    refuseIf(hasTwins(key.stages), `keys[${i}].stages repeats a stage`);
  }
  for (const [i, key] of trust.encryption.entries()) importEncryptionKey(key.publicKey, `encryption[${i}].publicKey`);
  checkRoles(trust.keys);
  return trust;
}

function checkRoles(keys: TrustKey[]): void {
  for (const [service, own] of Map.groupBy(keys, (key) => key.service)) {
    const stages = new Set<KeyStage>(own.flatMap((key) => key.stages));
    const fits = ROLES.some((role) => [...stages].every((stage) => role.includes(stage)));
    refuseIf(!fits, `service ${service} holds stages of two roles: ${[...stages].join(", ")}`);
  }
}

function hasTwins(values: string[]): boolean {
  return new Set(values).size !== values.length;
}

function refuseIf(wrong: boolean, problem: string): void {
  if (wrong) throw new AttestationError("TRUST_INVALID", `trust bundle: ${problem}`);
}
