import type { ListCertificatesRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import type { CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants } from "../core/authorise.ts";
import { certificateView } from "../core/views.ts";
import { listBindings } from "../db/certificates.ts";

const limit = 1_000;

/** Those of the caller's tenant; for staff of the platform all. Newest first. */
export async function listCertificates(
  context: Context,
  caller: CallerIdentity,
  { includeEnded }: ListCertificatesRequest,
) {
  authorise(context, caller, "certificate.list", { tenant: caller.tenant });
  const tenant = mayAcrossTenants(context, caller, "certificate.list") ? undefined : caller.tenant;
  const rows = await listBindings(context.db, { tenant, includeEnded, limit });
  return { certificates: rows.map(certificateView) };
}
