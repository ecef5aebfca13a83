/** Which models there are, and who may do what with them: both from signed state, stale means refuse. */
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import type { ServedModel } from "../domain/manifest.ts";

export function listModels({ models }: Context): readonly ServedModel[] {
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

export function authorize({ policy }: Context, identity: CallerIdentity, action: string, resource: Resource): void {
  const { allow, reason } = policy
    .get()
    .authorize({ action, identity: { ...identity, groups: [...identity.groups] }, resource });
  if (allow) return;
  throw new AppError(
    "PERMISSION_DENIED",
    `your groups do not allow ${action} here (${reason}); ask your administrator for the role`,
    { reason: "NOT_AUTHORISED" },
  );
}
