import { createCipheriv, createDecipheriv, createHash, createSecretKey, randomBytes } from "node:crypto";
import { AttestationError } from "./errors.ts";
import { canonicalBytes } from "./json.ts";

const KEY_BYTES = 32;
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const SECRET_BYTES = KEY_BYTES + SALT_BYTES;

/** What one request's bodies are encrypted under and its digests are salted with. Never logged, never stored bare. */
export interface RequestSecret {
  /** AES-256 key, 32 bytes. */
  key: Uint8Array;
  /** 32 bytes. Without it a digest in the log says nothing about the bytes, even when they are guessed. */
  salt: Uint8Array;
}

/** Where a body belongs. It is authenticated with the ciphertext, so no body opens in another's place. */
export interface BodyContext {
  requestId: string;
  kind: "prompt" | "window" | "verdict" | "output";
  attempt: number;
  index: number;
}

export type Random = (bytes: number) => Uint8Array;

export function createRequestSecret(random: Random = randomBytes): RequestSecret {
  return splitSecret(new Uint8Array(random(SECRET_BYTES)));
}

/** key ‖ salt, 64 bytes. */
export function joinSecret({ key, salt }: RequestSecret): Uint8Array {
  checkSecret(key, salt);
  return new Uint8Array(Buffer.concat([key, salt]));
}

export function splitSecret(bytes: Uint8Array): RequestSecret {
  const [key, salt] = [bytes.slice(0, KEY_BYTES), bytes.slice(KEY_BYTES)];
  checkSecret(key, salt);
  return { key, salt };
}

/**
 * AES-256-GCM: nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes). Random nonces are safe here: a key serves one request,
 * far below the 2^32 messages of NIST SP 800-38D.
 */
export function seal(
  secret: RequestSecret,
  context: BodyContext,
  plaintext: Uint8Array,
  random: Random = randomBytes,
): Uint8Array {
  checkSecret(secret.key, secret.salt);
  const nonce = random(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", createSecretKey(secret.key), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData(context));
  const parts = [nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
  return new Uint8Array(Buffer.concat(parts));
}

/** Throws BODY_UNREADABLE, with no hint of which part did not fit. */
export function open(secret: RequestSecret, context: BodyContext, sealed: Uint8Array): Uint8Array {
  checkSecret(secret.key, secret.salt);
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw unreadable();
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv(
    "aes-256-gcm",
    createSecretKey(secret.key),
    sealed.subarray(0, NONCE_BYTES),
    options,
  );
  decipher.setAAD(associatedData(context));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const plaintext = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES));
  try {
    return new Uint8Array(Buffer.concat([plaintext, decipher.final()]));
  } catch {
    throw unreadable();
  }
}

/** Hex SHA-256(salt ‖ bytes): the digest in every ticket and record. */
export function saltedDigest(salt: Uint8Array, bytes: Uint8Array): string {
  // A salt of another length would let bytes move between salt and body without changing the digest.
  if (salt.length !== SALT_BYTES) throw new AttestationError("SECRET_UNREADABLE", "a salt has 32 bytes");
  return createHash("sha256").update(salt).update(bytes).digest("hex");
}

function associatedData({ requestId, kind, attempt, index }: BodyContext): Uint8Array {
  return canonicalBytes({ attempt, index, kind, requestId });
}

function checkSecret(key: Uint8Array, salt: Uint8Array): void {
  if (key.length !== KEY_BYTES || salt.length !== SALT_BYTES) {
    throw new AttestationError("SECRET_UNREADABLE", "a request secret is a 32-byte key and a 32-byte salt");
  }
}

function unreadable(): AttestationError {
  return new AttestationError("BODY_UNREADABLE", "the body does not open with this key in this place");
}
