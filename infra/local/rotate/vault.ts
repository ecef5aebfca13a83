/** Rotation of the vault's master key: every request's key is wrapped anew, then the former master key is given up. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { secretFile, writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import type { Running } from "./running.ts";

const REWRAPPED_WITHIN_MS = 10 * 60_000;
const POLL_MS = 250;
/** Longer than the service takes to look again for what came under the former key meanwhile. */
const SETTLED_MS = 6_000;

/** With nothing running the former key stays in the file: the audit service wraps anew at its next start. */
export async function rotateVaultKey(
  home: Home,
  running: Running | undefined,
  report: (line: string) => void,
): Promise<void> {
  const file = join(home.secretsDir, "vault-master-key");
  const former = secretFile(file).split(/\s+/);
  const next = randomBytes(32).toString("hex");
  writeWhole(file, `${[next, ...former].join("\n")}\n`);
  if (!running)
    return report("the vault is wrapped anew at the next start; rotate once more then to drop the former key");
  await running.untilLoaded("vault", { audit: [file] });
  await untilRewrapped(running.endpoints.health.audit!);
  report("every key in the vault is wrapped under the new master key");
  writeWhole(file, `${next}\n`);
  await running.untilLoaded("vault", { audit: [file] });
  report("the former master key is gone");
}

async function untilRewrapped(health: string): Promise<void> {
  const deadline = Date.now() + REWRAPPED_WITHIN_MS;
  let settledAt = Date.now() + SETTLED_MS;
  while (Date.now() < deadline) {
    const text = await (await fetch(`${health}/metrics`)).text();
    const left = /^sallyport_vault_keys_under_former_master_key(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1];
    if (left !== "0") settledAt = Date.now() + SETTLED_MS;
    if (Date.now() > settledAt) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error("not every key of the vault was wrapped anew within 10 minutes; the former master key stays");
}
