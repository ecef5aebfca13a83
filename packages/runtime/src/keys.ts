/** The keys that a service is given as files, loaded again when they are rotated. Errors name the file, never what is in it. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  createSigner,
  type DecryptionKeys,
  loadTrustBundle,
  readRootKey,
  type Signer,
  type TrustBundle,
} from "@sallyport/attestation";
import type { Clock } from "./clock.ts";
import { AppError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { type Reloaded, reloadFiles } from "./reload.ts";
import { gauge } from "./telemetry/metrics.ts";

const trustExpiresAt = gauge("sallyport_trust_bundle_expiry_timestamp_seconds", "When the trust bundle ends.");

/** More than these in one file is a mistake: each is tried in turn. */
const maxDecryptionKeys = 8;

/** Ed25519 private key, PKCS#8 PEM, signing for one stage. Throws FAILED_PRECONDITION (KEY_INVALID). */
export function loadSigner(file: string, stage: Signer["stage"], log: Logger): Signer {
  const expected = "an Ed25519 private key (PKCS#8 PEM)";
  const load = () => fromFile(file, expected, (pem) => createSigner(createPrivateKey(pem), stage));
  const signer = reloadFiles("signing-key", [file], load, log);
  return {
    stage,
    get keyid() {
      return signer.current.keyid;
    },
    sign: (bytes) => signer.current.sign(bytes),
  };
}

/**
 * X25519 private keys, PKCS#8 PEM, newest first: they open what is wrapped to this service. After a rotation the former
 * stays behind the new one for as long as something wrapped to it is kept. Throws FAILED_PRECONDITION (KEY_INVALID).
 */
export function loadEncryptionKey(file: string, log: Logger): DecryptionKeys {
  const load = () => fromFile(file, "X25519 private keys (PKCS#8 PEM)", readDecryptionKeys);
  const keys = reloadFiles("encryption-key", [file], load, log);
  return () => keys.current;
}

function readDecryptionKeys(pem: string): KeyObject[] {
  const blocks = pem.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > maxDecryptionKeys) throw new Error(`it has ${blocks.length} private keys`);
  return blocks.map((block) => {
    const key = createPrivateKey(block);
    if (key.asymmetricKeyType !== "x25519") throw new Error(`it is ${key.asymmetricKeyType}`);
    return key;
  });
}

/**
 * The operator's trust bundle (DSSE JSON), verified with the operator's public key (SPKI PEM). A newer version is taken
 * when the file is replaced; an older one never.
 */
export function loadTrust(bundleFile: string, rootFile: string, clock: Clock, log: Logger): TrustBundle {
  const root = fromFile(rootFile, "an Ed25519 public key (SPKI PEM)", readRootKey);
  const load = (previous: TrustBundle | undefined) =>
    fromFile(bundleFile, "a trust bundle signed by the operator's key", (json) => {
      const trust = loadTrustBundle(json, root, clock.now(), previous?.version);
      trustExpiresAt.set({}, trust.expiresAt.getTime() / 1_000);
      return trust;
    });
  return currentTrust(reloadFiles("trust", [bundleFile], load, log));
}

/** The bundle that holds now, for those who keep it. */
function currentTrust(trust: { readonly current: TrustBundle }): TrustBundle {
  return {
    get version() {
      return trust.current.version;
    },
    get issuedAt() {
      return trust.current.issuedAt;
    },
    get expiresAt() {
      return trust.current.expiresAt;
    },
    get logs() {
      return trust.current.logs;
    },
    key: (keyid) => trust.current.key(keyid),
    serviceOf: (keyid) => trust.current.serviceOf(keyid),
    keyFor: (keyid, stage, at) => trust.current.keyFor(keyid, stage, at),
    encryptionKey: (service) => trust.current.encryptionKey(service),
    assertCurrent: (at) => trust.current.assertCurrent(at),
  };
}

/** A secret of one line, such as a bus user's seed. Throws FAILED_PRECONDITION (KEY_INVALID) when it is empty. */
export function loadSecret(file: string, log: Logger): Reloaded<string> {
  const load = () =>
    fromFile(file, "a file with a secret in it", (contents) => {
      const secret = contents.trim();
      if (secret === "") throw new Error("it is empty");
      return secret;
    });
  return reloadFiles("bus", [file], load, log);
}

function fromFile<T>(file: string, expected: string, parse: (contents: string) => T): T {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new AppError("FAILED_PRECONDITION", `${file} is not ${expected}`, { reason: "KEY_INVALID", cause });
  }
}
