/**
 * The operator's break-glass switches, put past governance: each becomes one of governance's own (record, list, event),
 * so that it lives on when the bus is wiped and two persons can lift it. The value itself is kept as it was signed, and
 * put again whenever the bucket lacks it.
 */
import { createHash } from "node:crypto";
import { BREAK_GLASS, decodeEnvelopeJson, envelopeDigest, type StateValue, verifyState } from "@sallyport/attestation";
import { periodically, readSwitches, type Switch } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { findState, lockState, saveState } from "../db/signed-state.ts";
import { insertSwitch } from "../db/switches.ts";
import type { SwitchRow } from "../domain/switch.ts";
import { putNow } from "./signed-state.ts";
import { lockSwitches, ownerOf, recordStep, type SwitchStep } from "./switch-steps.ts";

const everyMs = 1_000;
const { bucket, key } = BREAK_GLASS;

export function startBreakGlass(context: Context): AsyncDisposable {
  let seen = "";
  const rounds = periodically(context.log, everyMs, "read the break-glass switches", async () => {
    const bytes = await context.bus.readValue(bucket, key);
    const digest = bytes ? createHash("sha256").update(bytes).digest("hex") : "";
    if (!bytes || digest === seen) return;
    await adopt(context, Buffer.from(bytes).toString());
    seen = digest;
  });
  const stop = context.bus.onPut(bucket, key, () => rounds.hasten());
  return {
    async [Symbol.asyncDispose]() {
      stop();
      await rounds[Symbol.asyncDispose]();
    },
  };
}

/** Throws when the value is not the operator's or makes no sense: readers refuse it too, and then refuse everything. */
async function adopt(context: Context, envelope: string): Promise<void> {
  const { clock, db, log, outbox, trust } = context;
  const minVersion = (await findState(db, bucket, key))?.version ?? 1;
  const signed = decodeEnvelopeJson(envelope);
  const state = verifyState(signed, trust, { bucket, key, minVersion, now: clock.now() });
  const keyid = signed.signatures[0]!.keyid;
  const rows: SwitchRow[] = [];
  for (const found of readSwitches(state.value).switches) {
    rows.push(adopted(found, state, keyid, await ownerOf(context, found.target)));
  }
  const result = await outbox.commit(async (tx) => {
    await lockSwitches(tx);
    const newest = await lockState(tx, bucket, key);
    if (newest && newest.version >= state.version) return { value: undefined, messages: [] };
    await saveState(tx, { bucket, key, version: state.version, digest: envelopeDigest(signed), envelope });
    const steps: SwitchStep[] = [];
    for (const row of rows) {
      const detail = { keyid, breakGlassVersion: state.version };
      if (await insertSwitch(tx, row)) steps.push({ event: "switch.break-glass", row, detail });
    }
    const { value, messages } = await recordStep(context, tx, steps);
    return { value: { active: value, count: steps.length }, messages };
  });
  if (!result) return;
  await putNow(context, result.active);
  log.warn({ switches: result.count, keyid, version: state.version }, "break-glass switches adopted");
}

function adopted({ id, kind, target, until }: Switch, state: StateValue, keyid: string, tenant: string): SwitchRow {
  return {
    ...{ id, kind, target, tenant, state: "active", setter: `break-glass ${keyid}`, setBy: "break-glass" },
    ...{ setAt: new Date(state.issuedAt), expiresAt: until ?? null, breakGlass: true, ofPlatform: false },
    ...{ asker: "", resumeAskedBy: "", liftedBy: "", endedAt: null },
  };
}
