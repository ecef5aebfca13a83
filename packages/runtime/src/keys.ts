/** The keys that a service is given as files, checked when it starts. Errors name the file, never what is in it. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSigner, loadTrustBundle, type Signer, type TrustBundle } from "@sallyport/attestation";
import type { Clock } from "./clock.ts";
import { AppError } from "./errors.ts";

/** Ed25519 private key, PKCS#8 PEM, signing for one stage. Throws FAILED_PRECONDITION (KEY_INVALID). */
export function loadSigner(file: string, stage: Signer["stage"]): Signer {
  return fromFile(file, "an Ed25519 private key (PKCS#8 PEM)", (pem) => createSigner(createPrivateKey(pem), stage));
}

/** X25519 private key, PKCS#8 PEM: opens what is wrapped to this service. Throws FAILED_PRECONDITION (KEY_INVALID). */
export function loadEncryptionKey(file: string): KeyObject {
  return fromFile(file, "an X25519 private key (PKCS#8 PEM)", (pem) => {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== "x25519") throw new Error(`it is ${key.asymmetricKeyType}`);
    return key;
  });
}

/** The operator's trust bundle (DSSE JSON), verified with the operator's public key (SPKI PEM). */
export function loadTrust(bundleFile: string, rootFile: string, clock: Clock): TrustBundle {
  const root = fromFile(rootFile, "an Ed25519 public key (SPKI PEM)", (pem) => {
    const key = createPublicKey(pem);
    // createPublicKey also takes a private key, which has no business here.
    if (!pem.includes("BEGIN PUBLIC KEY") || key.asymmetricKeyType !== "ed25519") throw new Error("it is another key");
    return key;
  });
  return fromFile(bundleFile, "a trust bundle signed by the operator's key", (json) =>
    loadTrustBundle(json, root, clock.now()),
  );
}

function fromFile<T>(file: string, expected: string, parse: (contents: string) => T): T {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new AppError("FAILED_PRECONDITION", `${file} is not ${expected}`, { reason: "KEY_INVALID", cause });
  }
}
