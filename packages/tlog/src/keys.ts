import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { fromBase64, toBase64 } from "./encoding.ts";
import { check } from "./errors.ts";

/** Signature types of c2sp.org/signed-note that this package speaks. */
export const signatureType = { ed25519: 0x01, cosignatureV1: 0x04 } as const;
export type SignatureType = (typeof signatureType)[keyof typeof signatureType];

/** A public key that may sign notes. Name and `keyId` (32 bits) together identify it in a signature line. */
export type VerifierKey = {
  readonly name: string;
  readonly type: SignatureType;
  readonly keyId: number;
  /** 32 raw bytes (RFC 8032). */
  readonly publicKey: Uint8Array;
};

/** A private Ed25519 key and the name that it signs under. */
export type NoteSigner = { readonly name: string; readonly privateKey: KeyObject };

const vkeyForm = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/;

/** Builds a verifier key from 32 raw public bytes; the key id is SHA-256(name ‖ LF ‖ type ‖ key)[:4]. */
export function verifierKey(name: string, publicKey: Uint8Array, type: SignatureType): VerifierKey {
  checkKeyName(name);
  check(publicKey.length === 32, "format", "an Ed25519 public key is 32 bytes");
  const digest = createHash("sha256").update(`${name}\n`).update(Uint8Array.of(type)).update(publicKey).digest();
  return { name, type, keyId: digest.readUInt32BE(0), publicKey };
}

/** The verifier key of a signer, for log signatures (`ed25519`) or witness cosignatures (`cosignatureV1`). */
export function verifierKeyOf(signer: NoteSigner, type: SignatureType): VerifierKey {
  check(signer.privateKey.asymmetricKeyType === "ed25519", "format", "a note signer has an Ed25519 key");
  const { x } = createPublicKey(signer.privateKey).export({ format: "jwk" });
  return verifierKey(signer.name, new Uint8Array(Buffer.from(x!, "base64url")), type);
}

/** The text form `<name>+<key id in hex>+<base64(type ‖ key)>` (vkey). */
export function formatVkey(key: VerifierKey): string {
  const material = Uint8Array.of(key.type, ...key.publicKey);
  return `${key.name}+${key.keyId.toString(16).padStart(8, "0")}+${toBase64(material)}`;
}

/** Parses a vkey; a key id that does not belong to the key is refused. */
export function parseVkey(vkey: string): VerifierKey {
  const match = vkeyForm.exec(vkey);
  check(match !== null, "format", "not a verifier key: expected name+id+key");
  const material = fromBase64(match[3]!, "the verifier key");
  const type = material[0];
  check(
    type === signatureType.ed25519 || type === signatureType.cosignatureV1,
    "format",
    "the verifier key has a signature type that is not supported",
  );
  const key = verifierKey(match[1]!, material.slice(1), type);
  check(key.keyId === Number.parseInt(match[2]!, 16), "format", "the verifier key's id does not belong to it");
  return key;
}

/** Refuses names that a signature line cannot carry: empty, with a Unicode space, plus sign or control character. */
export function checkKeyName(name: string): void {
  const isPlain = name.length > 0 && name.isWellFormed() && !/[\p{White_Space}\p{Cc}+]/u.test(name);
  check(isPlain, "format", "a key name is not empty and has no spaces, plus signs or control characters");
}

/** The key as node:crypto wants it. */
export function publicKeyObject(key: VerifierKey): KeyObject {
  const x = Buffer.from(key.publicKey).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}
