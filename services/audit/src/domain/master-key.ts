import { createCipheriv, createDecipheriv, hash, randomBytes } from "node:crypto";
import { joinSecret, type RequestSecret, splitSecret } from "@sallyport/attestation";

const masterKeyForm = /^[0-9a-f]{64}$/;
const nonceBytes = 12;
const tagBytes = 16;
const options = { authTagLength: tagBytes };

/** Wraps requests' secrets for the vault. */
export interface MasterKey {
  /** 16 hex digits of a digest: names the key beside what it wrapped. */
  readonly id: string;
  /** nonce ‖ AES-256-GCM(key ‖ salt) ‖ tag, bound to the request. */
  wrap(secret: RequestSecret, requestId: string): Uint8Array;
  /** Throws when the bytes are of another key or request, or damaged. */
  unwrap(wrapped: Uint8Array, requestId: string): RequestSecret;
}

/** `hex`: 32 bytes in lower-case hex. Random nonces are safe for far more requests than one key will see (2^32). */
export function createMasterKey(hex: string): MasterKey {
  if (!masterKeyForm.test(hex)) throw new TypeError("a master key is 64 lower-case hex digits");
  const key = Buffer.from(hex, "hex");
  const context = (requestId: string) => Buffer.from(`sallyport vault key v1\n${requestId}`);
  return {
    id: hash("sha256", Buffer.concat([Buffer.from("sallyport vault key id v1\n"), key]), "hex").slice(0, 16),
    wrap(secret, requestId) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv("aes-256-gcm", key, nonce, options).setAAD(context(requestId));
      const sealed = [cipher.update(joinSecret(secret)), cipher.final()];
      return new Uint8Array(Buffer.concat([nonce, ...sealed, cipher.getAuthTag()]));
    },
    unwrap(wrapped, requestId) {
      const end = wrapped.length - tagBytes;
      if (end <= nonceBytes) throw new RangeError("the wrapped key is too short");
      const decipher = createDecipheriv("aes-256-gcm", key, wrapped.subarray(0, nonceBytes), options);
      decipher.setAAD(context(requestId)).setAuthTag(wrapped.subarray(end));
      const opened = Buffer.concat([decipher.update(wrapped.subarray(nonceBytes, end)), decipher.final()]);
      return splitSecret(new Uint8Array(opened));
    },
  };
}

/** The master key in use, and the former ones whose wraps are not all renewed yet. */
export interface MasterKeys {
  /** Newest first. */
  readonly all: readonly MasterKey[];
  readonly newest: MasterKey;
  readonly oldest: MasterKey;
  /** Throws RangeError for a key that is not among them: its file was cut before everything was wrapped anew. */
  byId(id: string): MasterKey;
}

/**
 * One key a line, newest first, 8 at most. Those of `previous` stay known to this process: what was on its way while the
 * file was cut is still wrapped anew.
 */
export function readMasterKeys(text: string, previous?: MasterKeys): MasterKeys {
  const lines = text.trim().split(/\s*\n\s*/);
  if (lines.length > 8) throw new RangeError("more than 8 master keys");
  const listed = lines.map(createMasterKey);
  const keys = [...listed, ...(previous?.all ?? []).filter(({ id }) => !listed.some((key) => key.id === id))];
  return {
    all: keys,
    newest: keys[0]!,
    oldest: keys.at(-1)!,
    byId(id) {
      const found = keys.find((key) => key.id === id);
      if (found) return found;
      throw new RangeError(`master key ${id} is not in the file`);
    },
  };
}
