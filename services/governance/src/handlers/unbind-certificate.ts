import type { UnbindCertificateRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, may, personOf } from "../core/authorise.ts";
import { credentialEvent } from "../core/credential-events.ts";
import { putNow } from "../core/signed-state.ts";
import { signCertificates } from "../core/signed-values.ts";
import { certificateView } from "../core/views.ts";
import { findBinding, unbindListed } from "../db/certificates.ts";
import type { CertificateRow } from "../domain/credential.ts";
import { readJustification } from "../domain/justification.ts";

const maxIdLength = 64;

/** At once; the certificate may be bound again, to another identity. Again is fine. */
export async function unbindCertificate(context: Context, caller: CallerIdentity, request: UnbindCertificateRequest) {
  const found = await visibleBinding(context, caller, request.id);
  const why = readJustification(request.justification);
  const unbound = await context.outbox.commit(async (tx) => {
    const ending = { at: context.clock.now(), by: personOf(caller), justification: why.text };
    const row = await unbindListed(tx, found.id, ending);
    if (!row) return { value: undefined, messages: [] };
    const state = await signCertificates(context, tx);
    return {
      value: { row, state },
      messages: [credentialEvent("credential.unbound", caller, row, state.version, why)],
    };
  });
  if (!unbound) return { certificate: certificateView((await findBinding(context.db, found.id))!) };
  await putNow(context, unbound.state);
  return { certificate: certificateView(unbound.row) };
}

/** Another tenant's is not told apart from one that never was. */
async function visibleBinding(context: Context, caller: CallerIdentity, id: string): Promise<CertificateRow> {
  authorise(context, caller, "certificate.unbind", { tenant: caller.tenant });
  const found = id.length <= maxIdLength ? await findBinding(context.db, id) : undefined;
  if (found && may(context, caller, "certificate.unbind", { tenant: found.tenant })) return found;
  throw new AppError("NOT_FOUND", "no certificate is bound under that id", { reason: "CERTIFICATE_NOT_FOUND" });
}
