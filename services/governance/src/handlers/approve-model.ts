import type { ApproveModelRequest } from "@sallyport/proto/sallyport/governance/v1/models";
import { AppError, type CallerIdentity, type OutboxMessage, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, personOf } from "../core/authorise.ts";
import { putNow } from "../core/signed-state.ts";
import { signManifest } from "../core/signed-values.ts";
import { modelView } from "../core/views.ts";
import { findModel, findServed, moveModel } from "../db/models.ts";
import { readJustification } from "../domain/justification.ts";
import { checkApproval, type RegisteredModel } from "../domain/model.ts";
import { auditEvent } from "../events.ts";

/** A second person lets a model into the manifest; the version of that name before it leaves it in the same moment. */
export async function approveModel(context: Context, caller: CallerIdentity, request: ApproveModelRequest) {
  const why = readJustification(request.justification);
  const found = await registered(context, request.digest);
  const { name, tier } = found;
  authorise(context, caller, "model.approve", {
    ...{ platform: true, model: name, tier },
    ...(found.importer === personOf(caller) && { ownerSubject: caller.subject }),
  });
  checkApproval(found, personOf(caller));
  const at = context.clock.now();
  const approved = await context.outbox.commit(async (tx) => {
    const before = await supersede(tx, found, caller.subject, at);
    const decision = { from: "imported", to: "approved", by: caller.subject, at, justification: why.text } as const;
    const model = await moveModel(tx, found.digest, decision);
    if (!model)
      throw new AppError("FAILED_PRECONDITION", "the model was decided meanwhile", { reason: "MODEL_DECIDED" });
    const state = await signManifest(context, tx);
    const about = { digest: model.digest, name, version: model.version, manifestVersion: state.version };
    const detail = { ...about, justificationDigest: why.digest };
    const messages: OutboxMessage[] = [auditEvent({ event: "model.approved", actor: caller, detail })];
    if (before) {
      const { digest, version } = before;
      const left = { digest, name, version, manifestVersion: state.version, supersededBy: model.digest };
      messages.push(auditEvent({ event: "model.revoked", actor: caller, detail: left }));
    }
    return { value: { model, state }, messages };
  });
  await putNow(context, approved.state);
  return { model: modelView(approved.model) };
}

async function supersede(tx: Tx, next: RegisteredModel, by: string, at: Date): Promise<RegisteredModel | undefined> {
  const served = await findServed(tx, next.name);
  if (!served) return undefined;
  const justification = `superseded by ${next.version} (${next.digest})`;
  return await moveModel(tx, served.digest, { from: "approved", to: "revoked", by, at, justification });
}

export async function registered({ db }: Context, digest: string): Promise<RegisteredModel> {
  const model = /^[0-9a-f]{64}$/.test(digest) ? await findModel(db, digest) : undefined;
  if (model) return model;
  throw new AppError("NOT_FOUND", "no model of that digest is registered", {
    reason: "MODEL_NOT_FOUND",
    details: { field: "digest" },
  });
}
