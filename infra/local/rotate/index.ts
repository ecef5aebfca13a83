/** `sallyport rotate`: replaces what an installation of this runner is known by, while it works. */
import { join } from "node:path";
import { defaultHome, type Home, openHome } from "../home.ts";
import { HomeInUse, takeLock } from "../process/lock.ts";
import { rotateBusKeys } from "./bus.ts";
import { rotateAuthority, rotateCertificates } from "./certificates.ts";
import { rotateEncryptionKeys, rotateSigningKeys } from "./keys.ts";
import type { Rotation } from "./names.ts";
import { Running } from "./running.ts";
import { rotateVaultKey } from "./vault.ts";

const rotations: Record<Rotation, (home: Home, running: Running | undefined, report: Report) => Promise<void>> = {
  certificates: rotateCertificates,
  authority: rotateAuthority,
  bus: rotateBusKeys,
  signing: rotateSigningKeys,
  encryption: rotateEncryptionKeys,
  vault: rotateVaultKey,
};

type Report = (line: string) => void;

/**
 * One after the other. Rejects when a service does not take what is new; what was begun is finished by the same command,
 * as nothing is given up before everyone has its successor. Rejects too while another one is at work on this home: each
 * would give up what the other has just made.
 */
export async function rotate(names: readonly Rotation[], options: { home?: string; report: Report }): Promise<void> {
  const home = openHome(options.home ?? defaultHome());
  const release = lockRotation(home);
  try {
    for (const name of names) {
      const running = Running.of(home);
      await rotations[name](home, running, (line) => options.report(`${name}: ${line}`));
    }
  } finally {
    release();
  }
}

function lockRotation(home: Home): () => void {
  try {
    return takeLock(join(home.runDir, "rotation"), home.root);
  } catch (error) {
    if (!(error instanceof HomeInUse)) throw error;
    throw new Error(`another rotation is at work on ${home.root} (process ${error.pid}); wait for its end`, {
      cause: error,
    });
  }
}
