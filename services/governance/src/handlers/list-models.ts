import type { CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise } from "../core/authorise.ts";
import { manifestPlace } from "../core/signed-values.ts";
import { modelView } from "../core/views.ts";
import { listAllModels } from "../db/models.ts";
import { listStates } from "../db/signed-state.ts";

export async function listModels(context: Context, caller: CallerIdentity) {
  authorise(context, caller, "model.list");
  const [models, states] = await Promise.all([listAllModels(context.db), listStates(context.db)]);
  const manifest = states.find(({ bucket }) => bucket === manifestPlace.bucket);
  return { models: models.map(modelView), manifestVersion: BigInt(manifest?.version ?? 0) };
}
