import type { ListTokensRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import type { CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants, mayForAnybody } from "../core/authorise.ts";
import { tokenView } from "../core/views.ts";
import { listTokens as list } from "../db/tokens.ts";

const limit = 1_000;

/** The caller's own; for operators those of their tenant; for staff of the platform all. Newest first. */
export async function listTokens(context: Context, caller: CallerIdentity, { includeEnded }: ListTokensRequest) {
  const { tenant, subject } = caller;
  authorise(context, caller, "token.list", { tenant, ownerSubject: subject });
  const anybodys = mayForAnybody(context, caller, "token.list");
  const everywhere = anybodys && mayAcrossTenants(context, caller, "token.list");
  const rows = await list(context.db, {
    ...{ includeEnded, limit },
    tenant: everywhere ? undefined : tenant,
    owner: anybodys ? undefined : caller,
  });
  return { tokens: rows.map(tokenView) };
}
