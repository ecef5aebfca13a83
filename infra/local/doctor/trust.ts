/** The trust bundle: signed by the operator, in time, and appointing the very keys that the services hold. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { keyIdOf, loadTrustBundle, readRootKey, type TrustBundle } from "@sallyport/attestation";
import { formatVkey, signatureType, verifierKeyOf } from "@sallyport/tlog";
import {
  encryptionKeyFile,
  LOG_ORIGIN,
  RECIPIENTS,
  type Signatory,
  STAGES,
  signingKeyFile,
  trustFiles,
} from "../trust.ts";
import { type Finding, fail, ok, type Subject, said, summed, warn } from "./finding.ts";

const dayMs = 86_400_000;
const warnDays = 14;
const resign =
  "Start the platform again: it signs a new bundle for the keys that are there. If nobody changed them, find out who did.";

export function examineTrust(subject: Subject): Finding[] {
  const { home, now } = subject;
  const files = trustFiles(home);
  for (const file of [files.bundle, files.root])
    if (!existsSync(file)) return [fail("trust bundle", `${file} is not there`, resign)];
  let bundle: TrustBundle;
  try {
    bundle = loadTrustBundle(readFileSync(files.bundle), readRootKey(readFileSync(files.root, "utf8")), now);
  } catch (error) {
    const mend = "No service starts with it. Restore the bundle that the operator signed, or have a new one signed.";
    return [fail("trust bundle", `it is refused: ${said(error)}`, mend)];
  }
  return [...examineBundle(subject, bundle), ...examineKeys(subject, bundle)];
}

function examineBundle({ home, now }: Subject, { version, expiresAt }: TrustBundle): Finding[] {
  const rootFile = join(home.operatorDir, "root.key");
  const root = existsSync(rootFile) ? publicOf(rootFile) : undefined;
  const shown = createPublicKey(readFileSync(trustFiles(home).root));
  if (root && keyIdOf(root) !== keyIdOf(shown))
    return [
      fail(
        "trust bundle",
        "trust/root.pub is not the operator's key",
        "Somebody replaced it: everything rests on it. Find out who did.",
      ),
    ];
  const what = `version ${version}, until ${expiresAt.toISOString()}`;
  if (expiresAt.getTime() - now.getTime() < warnDays * dayMs) return [warn("trust bundle", what, resign)];
  return [ok("trust bundle", what)];
}

function examineKeys({ home, now }: Subject, bundle: TrustBundle): Finding[] {
  const faults: Finding[] = [];
  const wrong = (service: string, problem: string) =>
    faults.push(fail("keys", `the key of ${service} ${problem}`, resign));
  for (const [service, stages] of Object.entries(STAGES)) {
    const file = signingKeyFile(home, service as Signatory);
    // The operator's lies elsewhere in a real installation.
    if (service === "operator" && !existsSync(file)) continue;
    const key = publicOf(file);
    if (!key) wrong(service, "is not there, or cannot be read");
    else
      for (const stage of stages ?? [])
        refused(
          () => bundle.keyFor(keyIdOf(key), stage, now),
          (why) => wrong(service, `may not sign for ${stage}: ${why}`),
        );
  }
  for (const service of RECIPIENTS) {
    const key = publicOf(encryptionKeyFile(home, service));
    if (!key) wrong(service, "for encryption is not there, or cannot be read");
    else
      refused(
        () => {
          if (!bundle.encryptionKey(service).publicKey.equals(key)) throw new Error("the bundle names another");
        },
        (why) => wrong(service, `for encryption is not the appointed one: ${why}`),
      );
  }
  if (!isLogKey(signingKeyFile(home, "audit"), bundle)) wrong("the log", "is not the one that the bundle trusts");
  const count = Object.keys(STAGES).length + RECIPIENTS.length + 1;
  return summed("keys", faults, `${count} keys are those that the bundle appoints`);
}

function isLogKey(file: string, { logs }: TrustBundle): boolean {
  try {
    const signer = { name: LOG_ORIGIN, privateKey: createPrivateKey(readFileSync(file)) };
    const vkey = formatVkey(verifierKeyOf(signer, signatureType.ed25519));
    return logs.some((log) => log.origin === LOG_ORIGIN && log.vkey === vkey);
  } catch {
    return false;
  }
}

function publicOf(file: string): KeyObject | undefined {
  try {
    return createPublicKey(readFileSync(file));
  } catch {
    return undefined;
  }
}

function refused(step: () => unknown, tell: (why: string) => void): void {
  try {
    step();
  } catch (error) {
    tell(said(error));
  }
}
