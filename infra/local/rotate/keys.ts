/** Rotation of the keys that the trust bundle appoints: every service learns of a new key before its owner uses it. */
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync, renameSync } from "node:fs";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import {
  encryptionKeyFile,
  ensureKey,
  ensureTrust,
  nextSigningKeyFile,
  RECIPIENTS,
  STAGES,
  signingKeyFile,
  trustFiles,
} from "../trust.ts";
import type { Running } from "./running.ts";

/** What a service keeps to open: its runtime refuses more. The oldest is given up. */
const MAX_DECRYPTION_KEYS = 8;

type Report = (line: string) => void;

/**
 * The keys that sign tickets, state and reviews. Not the log's: whoever verifies the log pins it, so that it is replaced
 * together with the log's origin.
 */
export async function rotateSigningKeys(home: Home, running: Running | undefined, report: Report): Promise<void> {
  const signing = services.filter((service) => STAGES[service] !== undefined);
  for (const service of signing) ensureKey(nextSigningKeyFile(home, service), "ed25519");
  await publishTrust(home, running);
  report("the trust bundle appoints the new keys beside those in use");
  const taken: Partial<Record<ServiceName, string[]>> = {};
  for (const service of signing) {
    renameSync(nextSigningKeyFile(home, service), signingKeyFile(home, service));
    taken[service] = [signingKeyFile(home, service)];
  }
  await running?.untilLoaded("signing-key", taken);
  report("every stage signs with its new key");
  await publishTrust(home, running);
  report("the former keys end in 5 minutes; what they signed until then stays verifiable");
}

/** The keys that requests' data keys are wrapped to. The former open what was wrapped before. */
export async function rotateEncryptionKeys(home: Home, running: Running | undefined, report: Report): Promise<void> {
  const files: Partial<Record<ServiceName, string[]>> = {};
  for (const service of RECIPIENTS) {
    const file = encryptionKeyFile(home, service);
    const former = readFileSync(file, "utf8").match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/g) ?? [];
    const next = generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString().trim();
    const kept = [next, ...former].slice(0, MAX_DECRYPTION_KEYS);
    for (const pem of kept) createPrivateKey(pem);
    writeWhole(file, `${kept.join("\n")}\n`);
    files[service] = [file];
  }
  await running?.untilLoaded("encryption-key", files);
  report("every service opens with its new key and with the former ones");
  await publishTrust(home, running);
  report("the gateway wraps to the new keys");
}

async function publishTrust(home: Home, running: Running | undefined): Promise<void> {
  ensureTrust(home, new Date());
  const { bundle } = trustFiles(home);
  await running?.untilLoaded("trust", Object.fromEntries(services.map((service) => [service, [bundle]])));
}
