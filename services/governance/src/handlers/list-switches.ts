import type { ListSwitchesRequest } from "@sallyport/proto/sallyport/governance/v1/switches";
import type { CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants } from "../core/authorise.ts";
import { switchesPlace } from "../core/signed-values.ts";
import { switchView } from "../core/views.ts";
import { findState } from "../db/signed-state.ts";
import { listSwitches as list } from "../db/switches.ts";

const limit = 500;

/** Those of the caller's tenant and those about everybody; for staff of the platform all. */
export async function listSwitches(context: Context, caller: CallerIdentity, { includeEnded }: ListSwitchesRequest) {
  authorise(context, caller, "switch.list", { tenant: caller.tenant });
  const tenant = mayAcrossTenants(context, caller, "switch.list") ? undefined : caller.tenant;
  const [rows, state] = await Promise.all([
    list(context.db, { tenant, includeEnded, limit }),
    findState(context.db, switchesPlace.bucket, switchesPlace.key),
  ]);
  return { switches: rows.map(switchView), version: BigInt(state?.version ?? 0) };
}
