/** Which models there are, and who may do what with them: both from signed state, stale means refuse. */
import { AppError, type CallerIdentity, notAuthorised } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import type { ServedModel } from "../domain/manifest.ts";

function listModels({ models }: Context): readonly ServedModel[] {
  return models.get().models;
}

export function findModel(context: Context, name: string): ServedModel {
  const found = listModels(context).find((model) => model.name === name);
  if (found) return found;
  throw new AppError("NOT_FOUND", "there is no approved model of that name; see the list of models", {
    reason: "MODEL_NOT_FOUND",
    details: { field: "model" },
  });
}

export interface Resource {
  readonly model?: string;
  readonly tier?: string;
  readonly tenant?: string;
  readonly ownerSubject?: string;
}

export function authorise(context: Context, identity: CallerIdentity, action: string, resource: Resource): void {
  const { allow, reason } = ask(context, identity, action, resource);
  if (!allow) throw notAuthorised(action, reason);
}

/** Those of the approved models that the caller's groups have to do with. */
export function listModelsFor(context: Context, identity: CallerIdentity): ServedModel[] {
  authorise(context, identity, "models.list", {});
  return listModels(context).filter(({ name: model, tier }) => {
    return ask(context, identity, "models.list", { model, tier }).allow;
  });
}

function ask({ policy }: Context, identity: CallerIdentity, action: string, resource: Resource) {
  return policy.get().authorise({ action, identity: { ...identity, groups: [...identity.groups] }, resource });
}
