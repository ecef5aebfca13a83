import { createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import { AttestationError } from "./errors.ts";
import type { KeyStage } from "./vocabulary.ts";

/** DSSE v1 envelope (https://github.com/secure-systems-lab/dsse), with the fields of the protobuf message. */
export interface Envelope {
  payloadType: string;
  payload: Uint8Array;
  signatures: { keyid: string; sig: Uint8Array }[];
}

/** Signs for one stage with one Ed25519 key. */
export interface Signer {
  keyid: string;
  stage: KeyStage | "root";
  sign(bytes: Uint8Array): Uint8Array;
}

export const MAX_PAYLOAD_BYTES = 64 * 1024;
const SIGNATURE_BYTES = 64;

/** DSSE pre-authentication encoding: lengths in bytes, so that type and payload cannot be shifted into each other. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType, "utf8");
  const head = Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `, "ascii"),
    type,
    Buffer.from(` ${payload.length} `, "ascii"),
  ]);
  return new Uint8Array(Buffer.concat([head, payload]));
}

/** First 32 hex digits (128 bits) of the SHA-256 of the key's SPKI DER: short, and too long to collide by search. */
export function keyIdOf(publicKey: KeyObject): string {
  return hash("sha256", publicKey.export({ type: "spki", format: "der" }), "hex").slice(0, 32);
}

export function createSigner(privateKey: KeyObject, stage: Signer["stage"]): Signer {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ed25519") {
    throw new AttestationError("KEY_INVALID", "a signer needs an Ed25519 private key");
  }
  return {
    keyid: keyIdOf(createPublicKey(privateKey)),
    stage,
    sign: (bytes) => new Uint8Array(sign(null, bytes, privateKey)),
  };
}

/** Throws PAYLOAD_TOO_LARGE above `maxBytes`. */
export function signEnvelope(
  payloadType: string,
  payload: Uint8Array,
  signer: Signer,
  maxBytes: number = MAX_PAYLOAD_BYTES,
): Envelope {
  checkSize(payload, maxBytes);
  const sig = signer.sign(preAuthEncoding(payloadType, payload));
  return { payloadType, payload, signatures: [{ keyid: signer.keyid, sig }] };
}

export interface VerifiedEnvelope {
  payload: Uint8Array;
  keyid: string;
}

/**
 * Returns the payload only if exactly one signature is there, by a key that `resolveKey` knows, over exactly this type
 * and payload. DSSE allows several signatures; here one statement has one signer, so more is refused, not ignored.
 * Throws PAYLOAD_TYPE, PAYLOAD_TOO_LARGE, SIGNATURE_COUNT, UNKNOWN_KEY, BAD_SIGNATURE or ENVELOPE_INVALID.
 */
export function verifyEnvelope(
  envelope: Envelope,
  payloadType: string,
  resolveKey: (keyid: string) => KeyObject | undefined,
  maxBytes: number = MAX_PAYLOAD_BYTES,
): VerifiedEnvelope {
  if (!(envelope?.payload instanceof Uint8Array) || !Array.isArray(envelope.signatures)) {
    throw new AttestationError("ENVELOPE_INVALID", "this is not an envelope");
  }
  if (envelope.payloadType !== payloadType) {
    throw new AttestationError("PAYLOAD_TYPE", `the envelope's payload type must be ${payloadType}`);
  }
  checkSize(envelope.payload, maxBytes);
  const [signature, ...others] = envelope.signatures;
  if (signature === undefined || others.length > 0) {
    throw new AttestationError("SIGNATURE_COUNT", "an envelope must carry exactly one signature");
  }
  const key = resolveKey(signature.keyid);
  if (key === undefined) throw new AttestationError("UNKNOWN_KEY", "no trusted key has this key id");
  const signed = preAuthEncoding(payloadType, envelope.payload);
  if (
    key.asymmetricKeyType !== "ed25519" ||
    !(signature.sig instanceof Uint8Array) ||
    signature.sig.length !== SIGNATURE_BYTES ||
    !isGood(key, signed, signature.sig)
  ) {
    throw new AttestationError("BAD_SIGNATURE", "the signature does not fit the payload");
  }
  return { payload: envelope.payload, keyid: signature.keyid };
}

/**
 * Signatures that this process has found good. The gateway meets door 1's twice within milliseconds: in its reply, and as
 * the first link of the release chain. By key, and by digest of all that was verified: nothing else is taken for it.
 */
const goodByKey = new WeakMap<KeyObject, Set<string>>();
const maxGood = 1_024;

function isGood(key: KeyObject, signed: Uint8Array, sig: Uint8Array): boolean {
  const good = goodByKey.get(key) ?? new Set();
  goodByKey.set(key, good);
  const what = hash("sha256", Buffer.concat([sig, signed]), "base64");
  if (good.has(what)) return true;
  if (!verify(null, signed, key, sig)) return false;
  if (good.size >= maxGood) good.clear();
  good.add(what);
  return true;
}

/**
 * Hex SHA-256 over PAE(type, payload): what a chain's `prev` names. The signature is left out on purpose. It is not
 * unique for what it signs (a key's holder can make many valid Ed25519 signatures of one message), and signing the
 * same statement again, after a crash or with a rotated key, must not break the chain behind it.
 */
export function envelopeDigest(envelope: Envelope): string {
  return hash("sha256", preAuthEncoding(envelope.payloadType, envelope.payload), "hex");
}

function checkSize(payload: Uint8Array, maxBytes: number): void {
  if (payload.length > maxBytes) {
    throw new AttestationError("PAYLOAD_TOO_LARGE", `a payload may have at most ${maxBytes} bytes`);
  }
}
