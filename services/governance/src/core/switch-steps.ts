/** What every change of a switch comes with, in its transaction: the next signed value, the history, the event. */
import { decodeEnvelopeJson, type Json, MAX_STATE_BYTES } from "@sallyport/attestation";
import { AppError, type CallerIdentity, type OutboxMessage, type SwitchTarget, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { lockState, type StoredState } from "../db/signed-state.ts";
import { insertStep } from "../db/switches.ts";
import { findToken } from "../db/tokens.ts";
import type { Justification } from "../domain/justification.ts";
import { everybodys, nobodys, type SwitchRow } from "../domain/switch.ts";
import { auditEvent } from "../events.ts";
import { personOf } from "./authorise.ts";
import { signSwitches, switchesPlace } from "./signed-values.ts";

export interface SwitchStep {
  event: "switch.paused" | "switch.resume-asked" | "switch.resumed" | "switch.expired" | "switch.break-glass";
  row: SwitchRow;
  /** Absent: governance itself. */
  actor?: CallerIdentity;
  why?: Justification;
  /** Further facts for the record. */
  detail?: Readonly<Record<string, Json>>;
}

const addsSwitch = new Set<SwitchStep["event"]>(["switch.paused", "switch.break-glass"]);
const reservedBytes = 16 * 1024;

/** Whose a target is. A credential is its tenant's only where it is an API token that was made here. */
export async function ownerOf({ db }: Pick<Context, "db">, target: SwitchTarget): Promise<string> {
  if (target.scope === "tenant" || target.scope === "identity") return target.tenant;
  if (target.scope === "credential") return (await findToken(db, target.credential))?.tenant ?? nobodys;
  return everybodys;
}

/** Before the first change: of two at once the later one sees what the earlier one did. */
export async function lockSwitches(tx: Tx): Promise<void> {
  await lockState(tx, switchesPlace.bucket, switchesPlace.key);
}

/** After the change. Throws RESOURCE_EXHAUSTED (STATE_FULL), and then nothing of it is stored. */
export async function recordStep(
  context: Context,
  tx: Tx,
  steps: readonly SwitchStep[],
): Promise<{ value: StoredState; messages: OutboxMessage[] }> {
  const state = await signSwitches(context, tx);
  leaveRoom(state, steps);
  const at = context.clock.now();
  for (const { event, row, actor, why } of steps) {
    const person = actor ? personOf(actor) : "";
    const justification = why?.text ?? "";
    await insertStep(tx, { switchId: row.id, event, person, justification, at, version: state.version });
  }
  return { value: state, messages: steps.map((step) => messageOf(step, state.version)) };
}

/** However many switches there are, the one for everything still fits. */
function leaveRoom({ envelope }: StoredState, steps: readonly SwitchStep[]): void {
  const added = steps.some(({ event, row }) => addsSwitch.has(event) && row.target.scope !== "all");
  if (!added || decodeEnvelopeJson(envelope).payload.length <= MAX_STATE_BYTES - reservedBytes) return;
  throw new AppError("RESOURCE_EXHAUSTED", "there are too many switches; lift some, or pause a tenant or everything", {
    reason: "STATE_FULL",
  });
}

function messageOf({ event, row, actor, why, detail }: SwitchStep, version: number): OutboxMessage {
  const { id, kind, target, tenant, expiresAt, breakGlass, ofPlatform } = row;
  return auditEvent({
    event,
    ...(tenant !== everybodys && tenant !== nobodys && { tenant }),
    ...(actor && { actor }),
    detail: {
      ...{ switch: id, kind, target: { ...target }, breakGlass, ofPlatform, version },
      ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
      ...(why && { justificationDigest: why.digest }),
      ...detail,
    },
  });
}
