import { createPublicKey, type KeyObject } from "node:crypto";
import { createSigner, keyIdOf, signEnvelope, verifyEnvelope } from "./dsse.ts";
import { decodeEnvelopeJson, encodeEnvelopeJson } from "./envelope-json.ts";
import { AttestationError } from "./errors.ts";
import { canonicalBytes } from "./json.ts";
import type { TrustContents, TrustKey, TrustLog } from "./trust-contents.ts";
import { decodeTrustContents, importEncryptionKey, importSigningKey } from "./trust-contents.ts";
import type { KeyStage } from "./vocabulary.ts";

export const TRUST_PAYLOAD_TYPE = "application/vnd.sallyport.trust+json";

/** Allowed difference between the clocks of two services. */
export const CLOCK_SKEW_MS = 5_000;

export interface EncryptionKey {
  service: string;
  kid: string;
  publicKey: KeyObject;
}

/** Which key may sign which stage, and when: read-only, signed offline by the operator. */
export interface TrustBundle {
  readonly version: number;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly logs: readonly TrustLog[];
  /** The key with this id, if any: enough to check a signature, not to believe what it says. */
  key(keyid: string): KeyObject | undefined;
  /** The service that holds this key, for messages and records. */
  serviceOf(keyid: string): string | undefined;
  /** The key, if it may sign for `stage` at `at`. Throws UNKNOWN_KEY, WRONG_STAGE or KEY_NOT_VALID. */
  keyFor(keyid: string, stage: KeyStage, at: Date): KeyObject;
  /** Throws UNKNOWN_KEY when the service takes no wrapped keys. */
  encryptionKey(service: string): EncryptionKey;
  /** Throws TRUST_EXPIRED: a bundle that outlived its time vouches for nothing. */
  assertCurrent(at: Date): void;
}

/** Signs a bundle with the operator's offline root key. Returns DSSE JSON, as stored on disk. */
export function createTrustBundle(contents: TrustContents, rootPrivateKey: KeyObject): Uint8Array {
  const payload = canonicalBytes(contents);
  decodeTrustContents(payload, keyIdOf(createPublicKey(rootPrivateKey)));
  const envelope = signEnvelope(TRUST_PAYLOAD_TYPE, payload, createSigner(rootPrivateKey, "root"));
  return new TextEncoder().encode(`${encodeEnvelopeJson(envelope)}\n`);
}

/** The operator's public key, as its owner keeps it (SPKI PEM). Throws KEY_INVALID, or node:crypto's error. */
export function readRootKey(pem: string): KeyObject {
  const key = createPublicKey(pem);
  // createPublicKey also takes a private key, which has no business here.
  if (pem.includes("BEGIN PUBLIC KEY") && key.asymmetricKeyType === "ed25519") return key;
  throw new AttestationError("KEY_INVALID", "it is not an Ed25519 public key (SPKI PEM)");
}

/**
 * Verifies a stored bundle. `minVersion` is the highest version that the caller has seen.
 * Throws what verifyEnvelope and decodeTrustContents throw, TRUST_ROLLBACK, TRUST_EXPIRED or NOT_YET_VALID.
 */
export function loadTrustBundle(
  bytes: Uint8Array | string,
  rootPublicKey: KeyObject,
  now: Date,
  minVersion = 1,
): TrustBundle {
  const rootKeyId = keyIdOf(rootPublicKey);
  const verified = verifyEnvelope(decodeEnvelopeJson(bytes), TRUST_PAYLOAD_TYPE, (keyid) =>
    keyid === rootKeyId ? rootPublicKey : undefined,
  );
  const contents = decodeTrustContents(verified.payload, rootKeyId);
  if (contents.version < minVersion) {
    throw new AttestationError("TRUST_ROLLBACK", `trust bundle ${contents.version} is older than ${minVersion}`);
  }
  const bundle = createBundle(contents);
  bundle.assertCurrent(now);
  if (bundle.issuedAt.getTime() > now.getTime() + CLOCK_SKEW_MS) {
    throw new AttestationError("NOT_YET_VALID", "the trust bundle was issued in the future");
  }
  return bundle;
}

function createBundle(contents: TrustContents): TrustBundle {
  const keys = new Map<string, TrustKey & { key: KeyObject }>();
  for (const entry of contents.keys) {
    keys.set(entry.keyid, { ...entry, key: importSigningKey(entry.publicKey, "publicKey") });
  }
  const encryption = new Map<string, EncryptionKey>();
  for (const { service, kid, publicKey } of contents.encryption) {
    encryption.set(service, { service, kid, publicKey: importEncryptionKey(publicKey, "publicKey") });
  }
  const [issuedAt, expiresAt] = [new Date(contents.issuedAt), new Date(contents.expiresAt)];
  return Object.freeze({
    version: contents.version,
    issuedAt,
    expiresAt,
    logs: Object.freeze(contents.logs),
    key: (keyid: string) => keys.get(keyid)?.key,
    serviceOf: (keyid: string) => keys.get(keyid)?.service,
    keyFor: (keyid: string, stage: KeyStage, at: Date) => appointed(keys.get(keyid), stage, at),
    encryptionKey(service: string) {
      const found = encryption.get(service);
      if (found === undefined) throw new AttestationError("UNKNOWN_KEY", `${service} has no encryption key`);
      return found;
    },
    assertCurrent(at: Date) {
      // Written so that an invalid date refuses.
      if (!(at.getTime() < expiresAt.getTime())) {
        throw new AttestationError("TRUST_EXPIRED", "the trust bundle has expired");
      }
    },
  });
}

function appointed(entry: (TrustKey & { key: KeyObject }) | undefined, stage: KeyStage, at: Date): KeyObject {
  if (entry === undefined) throw new AttestationError("UNKNOWN_KEY", "no trusted key has this key id");
  if (!entry.stages.includes(stage)) {
    throw new AttestationError("WRONG_STAGE", `a key of ${entry.service} may not sign for stage ${stage}`);
  }
  const time = at.getTime();
  if (!(time >= Date.parse(entry.notBefore) && time < Date.parse(entry.notAfter))) {
    throw new AttestationError("KEY_NOT_VALID", `the key of ${entry.service} was not valid at that time`);
  }
  return entry.key;
}
