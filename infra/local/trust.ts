import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createTrustBundle, keyIdOf, type TrustContents } from "@sallyport/attestation";
import type { ServiceName } from "@sallyport/proto/subjects";
import { services } from "@sallyport/proto/subjects";
import { formatVkey, signatureType, verifierKeyOf } from "@sallyport/tlog";
import { readJson, writeWhole } from "./files.ts";
import type { Home } from "./home.ts";
import { publicPem } from "./pki.ts";

const DAY_MS = 86_400_000;
const BUNDLE_DAYS = 365;
const RENEW_BEFORE_DAYS = 30;

/** Origin of the local transparency log, the first line of its checkpoints. */
export const LOG_ORIGIN = "sallyport.local/log";

/** Which key may sign which stage; the services that are not here hold a key that the bundle appoints for nothing. */
const STAGES: Partial<Record<Signatory, TrustContents["keys"][number]["stages"]>> = {
  "pre-moderator": ["door1"],
  "inference-worker": ["worker"],
  watermarker: ["watermarker"],
  "post-moderator": ["door2", "countersign"],
  governance: ["review", "state"],
  operator: ["switch"],
};

/** Services, and the operator with the break-glass key. */
type Signatory = ServiceName | "operator";

/** Services that a request's data key is wrapped to. */
const RECIPIENTS: readonly ServiceName[] = ["gateway", "inference-worker", "post-moderator", "watermarker", "audit"];

export interface TrustFiles {
  readonly bundle: string;
  readonly root: string;
}

export function trustFiles(home: Home): TrustFiles {
  return { bundle: join(home.trustDir, "bundle.json"), root: join(home.trustDir, "root.pub") };
}

/** The operator's is the break-glass key: offline in a real installation, as everything in its folder. */
export function signingKeyFile(home: Home, service: Signatory): string {
  return service === "operator"
    ? join(home.operatorDir, "break-glass.pem")
    : join(home.keysDir, `${service}.signing.pem`);
}

export function encryptionKeyFile(home: Home, service: ServiceName): string {
  return join(home.keysDir, `${service}.encryption.pem`);
}

/**
 * Makes the keys that are missing and, where they or time ask for it, a new trust bundle of the next version, signed by
 * the operator's root key. Returns whether a bundle was signed.
 */
export function ensureTrust(home: Home, now: Date): boolean {
  for (const service of services) {
    ensureKey(signingKeyFile(home, service), "ed25519");
    ensureKey(encryptionKeyFile(home, service), "x25519");
  }
  ensureKey(signingKeyFile(home, "operator"), "ed25519");
  const rootFile = join(home.operatorDir, "root.key");
  const root = ensureKey(rootFile, "ed25519");
  const files = trustFiles(home);
  const appointed = appointments(home);
  const digest = createHash("sha256")
    .update(JSON.stringify(appointed))
    .update(keyIdOf(createPublicKey(root)))
    .digest("hex");
  const stateFile = join(home.operatorDir, "trust-state.json");
  const last = readJson<TrustState>(stateFile);
  const lasts = last?.digest === digest && Date.parse(last.expiresAt) - now.getTime() > RENEW_BEFORE_DAYS * DAY_MS;
  if (lasts && existsSync(files.bundle) && existsSync(files.root)) return false;
  const contents = contentsOf(appointed, last, now);
  const since = Object.fromEntries(contents.keys.map(({ keyid, notBefore }) => [keyid, notBefore]));
  const state: TrustState = { version: contents.version, digest, expiresAt: contents.expiresAt, since };
  writeWhole(files.root, publicPem(readFileSync(rootFile, "utf8")), 0o644);
  writeWhole(files.bundle, createTrustBundle(contents, root), 0o644);
  writeWhole(stateFile, `${JSON.stringify(state)}\n`);
  return true;
}

/** What the operator remembers of the last bundle; `since` is each key's notBefore, which must not move. */
interface TrustState {
  readonly version: number;
  readonly digest: string;
  readonly expiresAt: string;
  readonly since: Readonly<Record<string, string>>;
}

type Appointments = Pick<TrustContents, "encryption" | "logs"> & {
  keys: Omit<TrustContents["keys"][number], "notBefore" | "notAfter">[];
};

function appointments(home: Home): Appointments {
  const keys = Object.entries(STAGES).map(([service, stages]) => {
    const key = createPublicKey(readFileSync(signingKeyFile(home, service as Signatory)));
    const publicKey = key.export({ type: "spki", format: "der" }).toString("base64");
    return { keyid: keyIdOf(key), service, stages, publicKey };
  });
  const encryption = RECIPIENTS.map((service) => {
    const { x } = createPublicKey(readFileSync(encryptionKeyFile(home, service))).export({ format: "jwk" });
    const kid = `${service}-${createHash("sha256").update(x!).digest("hex").slice(0, 8)}`;
    return { service, kid, publicKey: x! };
  });
  const signer = { name: LOG_ORIGIN, privateKey: createPrivateKey(readFileSync(signingKeyFile(home, "audit"))) };
  const logs = [{ origin: LOG_ORIGIN, vkey: formatVkey(verifierKeyOf(signer, signatureType.ed25519)) }];
  return { keys, encryption, logs };
}

function contentsOf({ keys, encryption, logs }: Appointments, last: TrustState | undefined, now: Date): TrustContents {
  const version = (last?.version ?? 0) + 1;
  const issuedAt = now.toISOString();
  const expiresAt = new Date(now.getTime() + BUNDLE_DAYS * DAY_MS).toISOString();
  // A key's life starts a little early: statements of a service whose clock is behind must still be believed.
  const early = new Date(now.getTime() - DAY_MS).toISOString();
  const dated = keys.map((key) => ({ ...key, notBefore: last?.since[key.keyid] ?? early, notAfter: expiresAt }));
  return { version, issuedAt, expiresAt, keys: dated, encryption, logs };
}

function ensureKey(file: string, type: "ed25519" | "x25519"): KeyObject {
  if (!existsSync(file)) {
    const { privateKey } = type === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("x25519");
    writeWhole(file, privateKey.export({ type: "pkcs8", format: "pem" }));
  }
  return createPrivateKey(readFileSync(file));
}
