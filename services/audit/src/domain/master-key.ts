import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { joinSecret, type RequestSecret, splitSecret } from "@sallyport/attestation";

const masterKeyForm = /^[0-9a-f]{64}$/;
const nonceBytes = 12;
const tagBytes = 16;

/** Wraps requests' secrets for the vault. */
export interface MasterKey {
  /** nonce ‖ AES-256-GCM(key ‖ salt) ‖ tag, bound to the request. */
  wrap(secret: RequestSecret, requestId: string): Uint8Array;
  /** Throws when the bytes are of another key or request, or damaged. */
  unwrap(wrapped: Uint8Array, requestId: string): RequestSecret;
}

/** `hex`: 32 bytes in lower-case hex. Random nonces are safe for far more requests than one key will see (2^32). */
export function createMasterKey(hex: string): MasterKey {
  if (!masterKeyForm.test(hex)) throw new TypeError("a master key is 64 lower-case hex digits");
  const key = Buffer.from(hex, "hex");
  const options = { authTagLength: tagBytes };
  const context = (requestId: string) => Buffer.from(`sallyport vault key v1\n${requestId}`);
  return {
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
