import type { BindCertificateRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, personOf } from "../core/authorise.ts";
import { credentialEvent } from "../core/credential-events.ts";
import { putNow } from "../core/signed-state.ts";
import { signCertificates } from "../core/signed-values.ts";
import { certificateView } from "../core/views.ts";
import { insertBinding } from "../db/certificates.ts";
import { type CertificateRow, readBinding } from "../domain/credential.ts";

/** A certificate of the callers' CA stands for one identity of one tenant from now on. */
export async function bindCertificate(context: Context, caller: CallerIdentity, request: BindCertificateRequest) {
  const { clock, ids, outbox, policy } = context;
  const now = clock.now();
  const wanted = readBinding(request, caller, policy.get().settings.credentials.grantable, now);
  // The callers' CA names applications of all tenants: whose a name is, only the platform's staff can say.
  authorise(context, caller, "certificate.bind", { tenant: wanted.tenant, platform: true });
  const made = { creator: personOf(caller), createdBy: caller.subject, createdAt: now, unboundAt: null };
  const row: CertificateRow = { id: ids.uuid(), ...wanted, ...made };
  const state = await outbox.commit(async (tx) => {
    if (!(await insertBinding(tx, row))) throw bound();
    const state = await signCertificates(context, tx);
    return { value: state, messages: [credentialEvent("credential.bound", caller, row, state.version)] };
  });
  await putNow(context, state);
  return { certificate: certificateView(row) };
}

function bound(): AppError {
  return new AppError("ALREADY_EXISTS", "this certificate is bound to an identity already; unbind it first", {
    reason: "CERTIFICATE_BOUND",
  });
}
