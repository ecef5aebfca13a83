import type { KeyObject } from "node:crypto";
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from "jose";
import { joinSecret, type RequestSecret, splitSecret } from "./bodies.ts";
import { AttestationError } from "./errors.ts";
import type { EncryptionKey } from "./trust.ts";

// RFC 7518 4.6 and RFC 8037: X25519 agreement, AES key wrap of a fresh content key, AES-256-GCM.
const ALGORITHM = "ECDH-ES+A256KW";
const CONTENT_ENCRYPTION = "A256GCM";
const MAX_JWE_CHARACTERS = 2_048;

/** A request secret for one recipient: JWE in compact form. */
export interface WrappedSecret {
  service: string;
  kid: string;
  jwe: string;
}

/** Wraps key ‖ salt to each recipient; the protected header carries `kid` and `sallyport_request`. */
export function wrapSecret(
  secret: RequestSecret,
  recipients: readonly EncryptionKey[],
  requestId: string,
): Promise<WrappedSecret[]> {
  const plaintext = joinSecret(secret);
  return Promise.all(
    recipients.map(async ({ service, kid, publicKey }) => {
      const header = { alg: ALGORITHM, enc: CONTENT_ENCRYPTION, kid, sallyport_request: requestId };
      const jwe = await new CompactEncrypt(plaintext).setProtectedHeader(header).encrypt(publicKey);
      return { service, kid, jwe };
    }),
  );
}

/** The recipient's X25519 private key; after a rotation the former ones too, newest first. */
export type DecryptionKeys = KeyObject | (() => readonly KeyObject[]);

/** Opens a secret wrapped to one of these keys for this request. Throws SECRET_UNREADABLE. */
export async function unwrapSecret(jwe: string, keys: DecryptionKeys, requestId: string): Promise<RequestSecret> {
  if (jwe.length > MAX_JWE_CHARACTERS) throw unreadable();
  let failure: unknown;
  for (const key of typeof keys === "function" ? keys() : [keys]) {
    try {
      return await unwrapWith(jwe, key, requestId);
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure ?? unreadable();
}

async function unwrapWith(jwe: string, privateKey: KeyObject, requestId: string): Promise<RequestSecret> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, privateKey, {
      keyManagementAlgorithms: [ALGORITHM],
      contentEncryptionAlgorithms: [CONTENT_ENCRYPTION],
      maxDecompressedLength: 0,
    });
    if (protectedHeader.sallyport_request !== requestId) throw unreadable();
    return splitSecret(plaintext);
  } catch (cause) {
    throw unreadable(cause);
  }
}

/** The key id that a JWE names, for a service that holds its old key beside the new one. Unverified. */
export function recipientKid(jwe: string): string | undefined {
  try {
    return jwe.length > MAX_JWE_CHARACTERS ? undefined : decodeProtectedHeader(jwe).kid;
  } catch {
    return undefined;
  }
}

function unreadable(cause?: unknown): AttestationError {
  return new AttestationError("SECRET_UNREADABLE", "the secret does not open with this key for this request", {
    cause,
  });
}
