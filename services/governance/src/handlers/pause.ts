import type { PauseRequest } from "@sallyport/proto/sallyport/governance/v1/switches";
import { AppError, type CallerIdentity, type SwitchTarget } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants, personOf } from "../core/authorise.ts";
import { putNow } from "../core/signed-state.ts";
import { lockSwitches, ownerOf, recordStep } from "../core/switch-steps.ts";
import { switchView } from "../core/views.ts";
import { isRegistered } from "../db/models.ts";
import { insertSwitch } from "../db/switches.ts";
import { readJustification } from "../domain/justification.ts";
import { readPause, resourceOf, type SwitchRow } from "../domain/switch.ts";

/** One person is enough to stop; it holds everywhere once the value is in the bucket, whatever the log does. */
export async function pause(context: Context, caller: CallerIdentity, request: PauseRequest) {
  const now = context.clock.now();
  const wanted = readPause(request, now);
  const tenant = await ownerOf(context, wanted.target);
  authorise(context, caller, "switch.pause", resourceOf({ ...wanted, tenant }));
  const why = readJustification(request.justification);
  await refuseUnknownModel(context, wanted.target);
  const row: SwitchRow = {
    ...wanted,
    ...{ id: context.ids.uuid(), tenant, state: "active", setter: personOf(caller), setBy: caller.subject, setAt: now },
    ...{ asker: "", resumeAskedBy: "", liftedBy: "", endedAt: null, breakGlass: false },
    ofPlatform: mayAcrossTenants(context, caller, "switch.pause"),
  };
  const state = await context.outbox.commit(async (tx) => {
    await lockSwitches(tx);
    await insertSwitch(tx, row);
    return await recordStep(context, tx, [{ event: "switch.paused", row, actor: caller, why }]);
  });
  await putNow(context, state);
  return { switch: switchView(row), version: BigInt(state.version) };
}

/** A misspelt name would stop nothing, and look as if it did. */
async function refuseUnknownModel({ db }: Context, target: SwitchTarget): Promise<void> {
  if (target.scope !== "model" || (await isRegistered(db, target.model))) return;
  throw new AppError("NOT_FOUND", "no model of that name is registered", {
    reason: "MODEL_NOT_FOUND",
    details: { field: "target.model" },
  });
}
