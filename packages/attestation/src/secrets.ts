import type { KeyObject } from "node:crypto";
import { decodeProtectedHeader } from "jose";
import { joinSecret, type RequestSecret, splitSecret } from "./bodies.ts";
import { AttestationError } from "./errors.ts";
import { decryptCompact, encryptCompact } from "./jwe.ts";
import type { EncryptionKey } from "./trust.ts";

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
): WrappedSecret[] {
  const plaintext = joinSecret(secret);
  return recipients.map(({ service, kid, publicKey }) => {
    const jwe = encryptCompact(plaintext, publicKey, { kid, sallyport_request: requestId });
    return { service, kid, jwe };
  });
}

/** The recipient's X25519 private key; after a rotation the former ones too, newest first. */
export type DecryptionKeys = KeyObject | (() => readonly KeyObject[]);

/** Opens a secret wrapped to one of these keys for this request. Throws SECRET_UNREADABLE. */
export async function unwrapSecret(jwe: string, keys: DecryptionKeys, requestId: string): Promise<RequestSecret> {
  if (jwe.length > MAX_JWE_CHARACTERS) throw unreadable();
  let failure: unknown;
  for (const key of typeof keys === "function" ? keys() : [keys]) {
    try {
      return unwrapWith(jwe, key, requestId);
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure ?? unreadable();
}

function unwrapWith(jwe: string, privateKey: KeyObject, requestId: string): RequestSecret {
  try {
    const { plaintext, header } = decryptCompact(jwe, privateKey);
    if (header.sallyport_request !== requestId) throw unreadable();
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
