import type { RevokeModelRequest } from "@sallyport/proto/sallyport/governance/v1/models";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise } from "../core/authorise.ts";
import { putNow } from "../core/signed-state.ts";
import { signManifest } from "../core/signed-values.ts";
import { modelView } from "../core/views.ts";
import { moveModel } from "../db/models.ts";
import { readJustification } from "../domain/justification.ts";
import { checkRevocation } from "../domain/model.ts";
import { auditEvent } from "../events.ts";
import { registered } from "./approve-model.ts";

/** Out of the manifest at once, and for good: one person is enough to stop a model. */
export async function revokeModel(context: Context, caller: CallerIdentity, request: RevokeModelRequest) {
  const why = readJustification(request.justification);
  const found = await registered(context, request.digest);
  const { digest, name, tier, version } = found;
  authorise(context, caller, "model.revoke", { platform: true, model: name, tier });
  checkRevocation(found);
  const revoked = await context.outbox.commit(async (tx) => {
    const decision = {
      from: found.state,
      to: "revoked",
      by: caller.subject,
      at: context.clock.now(),
      justification: why.text,
    } as const;
    const model = await moveModel(tx, digest, decision);
    if (!model)
      throw new AppError("FAILED_PRECONDITION", "the model was decided meanwhile", { reason: "MODEL_DECIDED" });
    const state = await signManifest(context, tx);
    const detail = { digest, name, version, manifestVersion: state.version, justificationDigest: why.digest };
    return { value: { model, state }, messages: [auditEvent({ event: "model.revoked", actor: caller, detail })] };
  });
  await putNow(context, revoked.state);
  return { model: modelView(revoked.model) };
}
