import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  createSigner,
  createTrustBundle,
  type KeyStage,
  keyIdOf,
  loadTrustBundle,
  type Signer,
  type TrustBundle,
  type TrustLog,
} from "@sallyport/attestation";
import type { ServiceName } from "@sallyport/proto/subjects";

/** Which service signs which stages, as in a real installation. */
const signing: readonly (readonly [ServiceName | "operator", readonly KeyStage[]])[] = [
  ["pre-moderator", ["door1"]],
  ["inference-worker", ["worker"]],
  ["watermarker", ["watermarker"]],
  ["post-moderator", ["door2", "countersign"]],
  ["governance", ["review", "state"]],
  ["operator", ["switch"]],
];
const wrappedTo: readonly ServiceName[] = ["inference-worker", "post-moderator", "audit", "gateway"];

/**
 * Fresh keys of every service and of the operator (break-glass), and a bundle that appoints them, valid for a day on
 * either side of now.
 */
export interface TestTrust {
  readonly trust: TrustBundle;
  signer(stage: KeyStage): Signer;
  encryptionKey(service: ServiceName): KeyObject;
  /** Writes `trust.json`, `root.pem`, and per service `<service>.signing.pem` and `<service>.encryption.pem`. */
  write(dir: string): { bundleFile: string; rootFile: string };
}

export function createTestTrust(options: { logs?: TrustLog[]; version?: number } = {}): TestTrust {
  const root = generateKeyPairSync("ed25519");
  const signers = new Map(signing.map(([service]) => [service, generateKeyPairSync("ed25519").privateKey]));
  const recipients = new Map(wrappedTo.map((service) => [service, generateKeyPairSync("x25519").privateKey]));
  const day = 24 * 3_600_000;
  const at = (offset: number) => new Date(Date.now() + offset).toISOString();
  const bytes = createTrustBundle(
    {
      version: options.version ?? 1,
      issuedAt: at(-day),
      expiresAt: at(day),
      keys: signing.map(([service, stages]) => {
        const publicKey = createPublicKey(signers.get(service)!);
        const der = publicKey.export({ type: "spki", format: "der" }).toString("base64");
        return {
          keyid: keyIdOf(publicKey),
          service,
          stages: [...stages],
          publicKey: der,
          notBefore: at(-day),
          notAfter: at(day),
        };
      }),
      encryption: [...recipients].map(([service, key]) => {
        const publicKey = createPublicKey(key);
        return { service, kid: `${service}-1`, publicKey: publicKey.export({ format: "jwk" }).x! };
      }),
      logs: options.logs ?? [],
    },
    root.privateKey,
  );
  const trust = loadTrustBundle(bytes, root.publicKey, new Date());
  return {
    trust,
    signer: (stage) => {
      const [service] = signing.find(([, stages]) => stages.includes(stage))!;
      return createSigner(signers.get(service)!, stage);
    },
    encryptionKey: (service) => recipients.get(service)!,
    write: (dir) => {
      const files = { bundleFile: join(dir, "trust.json"), rootFile: join(dir, "root.pem") };
      writeFileSync(files.bundleFile, bytes);
      writeFileSync(files.rootFile, root.publicKey.export({ type: "spki", format: "pem" }));
      for (const [kind, keys] of [
        ["signing", signers],
        ["encryption", recipients],
      ] as const) {
        for (const [service, key] of keys) {
          const pem = key.export({ type: "pkcs8", format: "pem" });
          writeFileSync(join(dir, `${service}.${kind}.pem`), pem, { mode: 0o600 });
        }
      }
      return files;
    },
  };
}
