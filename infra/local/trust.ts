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
/** How long a key that was replaced is still believed: its last statements may be on their way. */
const TAKEOVER_MS = 5 * 60_000;
/** Kept for each service, newest first; what older ones signed can be verified with the bundle of their time. */
const MAX_FORMER_KEYS = 10;

/** Origin of the local transparency log, the first line of its checkpoints. */
export const LOG_ORIGIN = "sallyport.local/log";

/** Which key may sign which stage; the services that are not here hold a key that the bundle appoints for nothing. */
export const STAGES: Partial<Record<Signatory, TrustContents["keys"][number]["stages"]>> = {
  "pre-moderator": ["door1"],
  "inference-worker": ["worker"],
  watermarker: ["watermarker"],
  "post-moderator": ["door2", "countersign"],
  governance: ["review", "state"],
  operator: ["switch"],
};

/** Services, and the operator with the break-glass key. */
export type Signatory = ServiceName | "operator";

/** Services that a request's data key is wrapped to. */
export const RECIPIENTS: readonly ServiceName[] = [
  "gateway",
  "inference-worker",
  "post-moderator",
  "watermarker",
  "audit",
];

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

/** A key that waits to take over: the bundle appoints it beside the one in use. */
export function nextSigningKeyFile(home: Home, service: Signatory): string {
  return signingKeyFile(home, service).replace(/\.pem$/, ".next.pem");
}

/**
 * Makes the keys that are missing and, where they or time ask for it, a new trust bundle of the next version, signed by
 * the operator's root key. A key that was replaced stays in it, for what it signed until now. Returns whether a bundle
 * was signed.
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
  const stateFile = join(home.operatorDir, "trust-state.json");
  const last = readJson<TrustState>(stateFile);
  const appointed = appointments(home, last?.keys ?? [], now);
  const digest = createHash("sha256")
    .update(JSON.stringify(appointed))
    .update(keyIdOf(createPublicKey(root)))
    .digest("hex");
  const lasts = last?.digest === digest && Date.parse(last.expiresAt) - now.getTime() > RENEW_BEFORE_DAYS * DAY_MS;
  if (lasts && existsSync(files.bundle) && existsSync(files.root)) return false;
  const contents = contentsOf(appointed, (last?.version ?? 0) + 1, now);
  const state: TrustState = {
    version: contents.version,
    digest,
    expiresAt: contents.expiresAt,
    keys: appointed.keys,
  };
  writeWhole(files.root, publicPem(readFileSync(rootFile, "utf8")), 0o644);
  writeWhole(files.bundle, createTrustBundle(contents, root), 0o644);
  writeWhole(stateFile, `${JSON.stringify(state)}\n`);
  return true;
}

/** What the operator remembers of the last bundle. */
interface TrustState {
  readonly version: number;
  readonly digest: string;
  readonly expiresAt: string;
  readonly keys: readonly Appointed[];
}

/** `notBefore` never moves; `notAfter` comes when another key took over. */
type Appointed = Omit<TrustContents["keys"][number], "notAfter"> & { readonly notAfter?: string };

interface Appointments {
  readonly keys: readonly Appointed[];
  readonly encryption: TrustContents["encryption"];
  readonly logs: TrustContents["logs"];
}

function appointments(home: Home, known: readonly Appointed[], now: Date): Appointments {
  const keys = Object.keys(STAGES).flatMap((service) => signingKeys(home, service as Signatory, known, now));
  const encryption = RECIPIENTS.map((service) => {
    const { x } = createPublicKey(readFileSync(encryptionKeyFile(home, service))).export({ format: "jwk" });
    const kid = `${service}-${createHash("sha256").update(x!).digest("hex").slice(0, 8)}`;
    return { service, kid, publicKey: x! };
  });
  const signer = { name: LOG_ORIGIN, privateKey: createPrivateKey(readFileSync(signingKeyFile(home, "audit"))) };
  const logs = [{ origin: LOG_ORIGIN, vkey: formatVkey(verifierKeyOf(signer, signatureType.ed25519)) }];
  return { keys, encryption, logs };
}

/** The key in use, the one that waits to take over, and those that were in use before. */
function signingKeys(home: Home, service: Signatory, known: readonly Appointed[], now: Date): Appointed[] {
  // A key's life starts a little early: statements of a service whose clock is behind must still be believed.
  const notBefore = new Date(now.getTime() - DAY_MS).toISOString();
  const files = [signingKeyFile(home, service), nextSigningKeyFile(home, service)].filter(existsSync);
  const current = files.map((file): Appointed => {
    const key = createPublicKey(readFileSync(file));
    const keyid = keyIdOf(key);
    const since = known.find((entry) => entry.keyid === keyid)?.notBefore ?? notBefore;
    const publicKey = key.export({ type: "spki", format: "der" }).toString("base64");
    return { keyid, service, stages: STAGES[service]!, publicKey, notBefore: since };
  });
  const notAfter = new Date(now.getTime() + TAKEOVER_MS).toISOString();
  const former = known
    .filter((entry) => entry.service === service && !current.some(({ keyid }) => keyid === entry.keyid))
    .map((entry) => ({ ...entry, notAfter: entry.notAfter ?? notAfter }));
  return [...current, ...former.slice(0, MAX_FORMER_KEYS)];
}

function contentsOf({ keys, encryption, logs }: Appointments, version: number, now: Date): TrustContents {
  const issuedAt = now.toISOString();
  const expiresAt = new Date(now.getTime() + BUNDLE_DAYS * DAY_MS).toISOString();
  const dated = keys.map((key) => ({ ...key, notAfter: key.notAfter ?? expiresAt }));
  return { version, issuedAt, expiresAt, keys: dated, encryption, logs };
}

export function ensureKey(file: string, type: "ed25519" | "x25519"): KeyObject {
  if (!existsSync(file)) {
    const { privateKey } = type === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("x25519");
    writeWhole(file, privateKey.export({ type: "pkcs8", format: "pem" }));
  }
  return createPrivateKey(readFileSync(file));
}
