import type { ResumeRequest } from "@sallyport/proto/sallyport/governance/v1/switches";
import { AppError, type CallerIdentity, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants, personOf } from "../core/authorise.ts";
import { putNow } from "../core/signed-state.ts";
import { lockSwitches, recordStep, type SwitchStep } from "../core/switch-steps.ts";
import { switchView } from "../core/views.ts";
import { askResume, findSwitch, liftSwitch } from "../db/switches.ts";
import { readJustification } from "../domain/justification.ts";
import { needsStaff, resourceOf, resumeStep, type SwitchRow } from "../domain/switch.ts";

const maxIdLength = 128;

/** Two persons: the first call asks and changes nothing yet, a call by another person lifts. */
export async function resume(context: Context, caller: CallerIdentity, request: ResumeRequest) {
  const { clock, db, outbox } = context;
  const found = request.switchId.length <= maxIdLength ? await findSwitch(db, request.switchId) : undefined;
  if (!found) {
    // Who may lift nothing learns nothing of which switches there are.
    authorise(context, caller, "switch.resume", { tenant: caller.tenant });
    throw new AppError("NOT_FOUND", "there is no switch of that id", { reason: "SWITCH_NOT_FOUND" });
  }
  authorise(context, caller, "switch.resume", resourceOf(found));
  if (needsStaff(found) && !mayAcrossTenants(context, caller, "switch.resume")) throw staffOnly();
  const why = readJustification(request.justification);
  const { row, state } = await outbox.commit(async (tx) => {
    await lockSwitches(tx);
    // Read again under the lock: what another person did a moment ago counts.
    const current = (await findSwitch(tx, found.id))!;
    const step = resumeStep(current, caller, personOf(caller), clock.now());
    const row = await apply(tx, step, current, caller, clock.now());
    const event: SwitchStep["event"] = step === "ask" ? "switch.resume-asked" : "switch.resumed";
    const { value: state, messages } = await recordStep(context, tx, [{ event, row, actor: caller, why }]);
    return { value: { row, state }, messages };
  });
  if (row.state === "lifted") await putNow(context, state);
  return { switch: switchView(row), version: BigInt(state.version) };
}

function apply(tx: Tx, step: "ask" | "lift", { id }: SwitchRow, caller: CallerIdentity, at: Date): Promise<SwitchRow> {
  const [person, name] = [personOf(caller), caller.subject];
  return step === "ask" ? askResume(tx, id, person, name) : liftSwitch(tx, id, person, name, at);
}

function staffOnly(): AppError {
  const message = "this was not stopped by an operator of your tenant; two of the platform's staff have to lift it";
  return new AppError("PERMISSION_DENIED", message, { reason: "STAFF_ONLY" });
}
