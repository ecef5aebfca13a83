import { sign, verify } from "node:crypto";
import { check } from "./errors.ts";
import { type NoteSigner, publicKeyObject, signatureType, type VerifierKey, verifierKeyOf } from "./keys.ts";
import type { Note, NoteSignature } from "./note.ts";

/** A verified cosignature: the witness saw this head as the largest consistent one at `timestamp` (POSIX seconds). */
export type Cosignature = { readonly witness: VerifierKey; readonly timestamp: number };

/** Makes a witness's Ed25519 cosignature (v1, type 0x04 of c2sp.org/tlog-cosignature) over a checkpoint's text. */
export function cosign(text: string, witness: NoteSigner, timestamp: number): NoteSignature {
  const { name, keyId } = verifierKeyOf(witness, signatureType.cosignatureV1);
  const signature = new Uint8Array(72);
  new DataView(signature.buffer).setBigUint64(0, BigInt(checkTimestamp(timestamp)));
  signature.set(sign(null, cosignedMessage(text, timestamp), witness.privateKey), 8);
  return { name, keyId, signature };
}

/**
 * Verifies the cosignatures of a parsed checkpoint by known witnesses. Unknown ones are ignored, a bad one by a
 * known witness throws. Each witness counts once, and so does each public key, whatever names it goes by: the v1
 * message does not commit to the name.
 */
export function verifyCosignatures(note: Note, witnesses: readonly VerifierKey[]): Cosignature[] {
  const found = new Map<string, Cosignature>();
  for (const { name, keyId, signature } of note.signatures) {
    const witness = witnesses.find((key) => key.name === name && key.keyId === keyId);
    if (witness === undefined) continue;
    check(witness.type === signatureType.cosignatureV1, "signature", "a witness key must be a cosignature key");
    const timestamp = verifyOne(note.text, signature, witness);
    const id = Buffer.from(witness.publicKey).toString("hex");
    if (!found.has(id)) found.set(id, { witness, timestamp });
  }
  return [...found.values()];
}

function verifyOne(text: string, signature: Uint8Array, witness: VerifierKey): number {
  check(signature.length === 72, "signature", "a cosignature by a known witness is malformed");
  const timestamp = Number(new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0));
  const message = cosignedMessage(text, checkTimestamp(timestamp));
  const isGood = verify(null, message, publicKeyObject(witness), signature.subarray(8));
  check(isGood, "signature", "a cosignature by a known witness is not valid");
  return timestamp;
}

function cosignedMessage(text: string, timestamp: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${timestamp}\n${text}`);
}

function checkTimestamp(timestamp: number): number {
  check(Number.isSafeInteger(timestamp) && timestamp >= 0, "format", "a cosignature's time is in whole POSIX seconds");
  return timestamp;
}
