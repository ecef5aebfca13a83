import type { CallerIdentity } from "@sallyport/runtime";
import { authorise } from "../authorise.ts";
import type { Context } from "../context.ts";
import { listAllModels } from "../db/models.ts";
import { listStates } from "../db/signed-state.ts";
import { manifestPlace } from "../signed-values.ts";
import { modelView } from "../views.ts";

export async function listModels(context: Context, caller: CallerIdentity) {
  authorise(context, caller, "model.list");
  const [models, states] = await Promise.all([listAllModels(context.db), listStates(context.db)]);
  const manifest = states.find(({ bucket }) => bucket === manifestPlace.bucket);
  return { models: models.map(modelView), manifestVersion: BigInt(manifest?.version ?? 0) };
}
