/** Takes what is past its time out of the signed values. Readers go by the times themselves: this is tidiness and the log. */
import { periodically } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { anyBindingExpired, unlistExpiredBindings } from "../db/certificates.ts";
import { anyExpired, expireSwitches } from "../db/switches.ts";
import { expiredShards, unlistExpired } from "../db/tokens.ts";
import { putNow } from "./signed-state.ts";
import { signCertificates, signTokens } from "./signed-values.ts";
import { lockSwitches, recordStep, type SwitchStep } from "./switch-steps.ts";

const everyMs = 1_000;

export function startExpiry(context: Context): AsyncDisposable {
  return periodically(context.log, everyMs, "end what is past its time", async () => {
    await endSwitches(context);
    await unlistTokens(context);
    await unlistCertificates(context);
  });
}

async function endSwitches(context: Context): Promise<void> {
  const { clock, db, log, outbox } = context;
  if (!(await anyExpired(db, clock.now()))) return;
  const ended = await outbox.commit(async (tx) => {
    await lockSwitches(tx);
    const steps = (await expireSwitches(tx, clock.now())).map((row): SwitchStep => ({ event: "switch.expired", row }));
    const { value: state, messages } = await recordStep(context, tx, steps);
    return { value: { state, count: steps.length }, messages };
  });
  await putNow(context, ended.state);
  log.info({ switches: ended.count }, "switches expired");
}

async function unlistTokens(context: Context): Promise<void> {
  const { clock, db, outbox } = context;
  const now = clock.now();
  const keys = await expiredShards(db, now);
  if (keys.length === 0) return;
  const states = await outbox.commit(async (tx) => {
    await unlistExpired(tx, now);
    const value = [];
    for (const key of keys) value.push(await signTokens(context, tx, key));
    return { value, messages: [] };
  });
  for (const state of states) await putNow(context, state);
}

async function unlistCertificates(context: Context): Promise<void> {
  const { clock, db, outbox } = context;
  if (!(await anyBindingExpired(db, clock.now()))) return;
  const state = await outbox.commit(async (tx) => {
    await unlistExpiredBindings(tx, clock.now());
    return { value: await signCertificates(context, tx), messages: [] };
  });
  await putNow(context, state);
}
