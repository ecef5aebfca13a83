import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustBundle, type DecryptionKeys, keyIdOf } from "@sallyport/attestation";
import { expect, test } from "vitest";
import { createLogger, loadEncryptionKey, loadSigner, loadTrust, systemClock } from "../src/index.ts";

const log = createLogger("test", "error");
const keysOf = (keys: DecryptionKeys) => (typeof keys === "function" ? keys() : [keys]);

const dir = mkdtempSync(join(tmpdir(), "sallyport-keys-"));
const root = generateKeyPairSync("ed25519");
const signing = generateKeyPairSync("ed25519");
const encryption = generateKeyPairSync("x25519");

function file(name: string, contents: string | Uint8Array): string {
  const path = join(dir, name);
  writeFileSync(path, contents);
  return path;
}
const privatePem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }) as string;
const publicPem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }) as string;

const bundle = createTrustBundle(
  {
    version: 1,
    issuedAt: new Date(Date.now() - 60_000).toISOString(),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    keys: [
      {
        keyid: keyIdOf(signing.publicKey),
        service: "pre-moderator",
        stages: ["door1"],
        publicKey: signing.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
        notBefore: new Date(Date.now() - 60_000).toISOString(),
        notAfter: new Date(Date.now() + 60_000).toISOString(),
      },
    ],
    encryption: [],
    logs: [],
  },
  root.privateKey,
);

const signingFile = file("signing.pem", privatePem(signing.privateKey));
const encryptionFile = file("encryption.pem", privatePem(encryption.privateKey));
const rootFile = file("root.pub", publicPem(root.publicKey));
const bundleFile = file("trust.json", bundle);

test("keys and bundle load, and fit together", () => {
  const signer = loadSigner(signingFile, "door1", log);
  const trust = loadTrust(bundleFile, rootFile, systemClock, log);
  expect(trust.serviceOf(signer.keyid)).toBe("pre-moderator");
  expect(keysOf(loadEncryptionKey(encryptionFile, log)).map((key) => key.asymmetricKeyType)).toEqual(["x25519"]);
});

test("a key of another kind, a private root, a bundle of another root or expired, or no file: refused, showing no key", () => {
  const other = file("other.pub", publicPem(generateKeyPairSync("ed25519").publicKey));
  const later = { now: () => new Date(Date.now() + 120_000) };
  const attempts = [
    () => loadSigner(encryptionFile, "door1", log),
    () => loadSigner(join(dir, "absent"), "door1", log),
    () => loadEncryptionKey(signingFile, log),
    () => loadTrust(bundleFile, file("root.pem", privatePem(root.privateKey)), systemClock, log),
    () => loadTrust(bundleFile, other, systemClock, log),
    () => loadTrust(bundleFile, rootFile, later, log),
    () => loadTrust(signingFile, rootFile, systemClock, log),
  ];
  for (const attempt of attempts) {
    let message = "";
    try {
      attempt();
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/ is not /);
    expect(message).not.toContain("PRIVATE KEY");
  }
});
