import type { RevokeTokenRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, apiTokenKey, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, may, personOf } from "../core/authorise.ts";
import { credentialEvent } from "../core/credential-events.ts";
import { putNow } from "../core/signed-state.ts";
import { signTokens } from "../core/signed-values.ts";
import { tokenView } from "../core/views.ts";
import { findToken, revokeListed } from "../db/tokens.ts";
import type { TokenRow } from "../domain/credential.ts";
import { readJustification } from "../domain/justification.ts";

/** Out of its shard at once, and for good. Again is fine. */
export async function revokeToken(context: Context, caller: CallerIdentity, request: RevokeTokenRequest) {
  const found = await visibleToken(context, caller, request.id);
  // One's own needs no reason: whoever suspects a leak shall not think about wording.
  const why =
    isOwn(found, caller) && request.justification === "" ? undefined : readJustification(request.justification);
  const revoked = await context.outbox.commit(async (tx) => {
    const ending = { at: context.clock.now(), by: personOf(caller), justification: why?.text ?? "" };
    const row = await revokeListed(tx, found.id, ending);
    if (!row) return { value: undefined, messages: [] };
    const state = await signTokens(context, tx, apiTokenKey(row.id));
    return {
      value: { row, state },
      messages: [credentialEvent("credential.revoked", caller, row, state.version, why)],
    };
  });
  if (!revoked) return { token: tokenView((await findToken(context.db, found.id))!) };
  await putNow(context, revoked.state);
  return { token: tokenView(revoked.row) };
}

/** The token, if the caller may revoke it; somebody else's is not told apart from one that never was. */
export async function visibleToken(context: Context, caller: CallerIdentity, id: string): Promise<TokenRow> {
  authorise(context, caller, "token.revoke", { tenant: caller.tenant, ownerSubject: caller.subject });
  const found = /^[0-9a-f]{16}$/.test(id) ? await findToken(context.db, id) : undefined;
  if (found) {
    const { tenant, subject: ownerSubject, issuer: ownerIssuer } = found;
    if (may(context, caller, "token.revoke", { tenant, ownerSubject, ownerIssuer })) return found;
  }
  throw new AppError("NOT_FOUND", "you have no API token of that id: it is the 16 digits after `sp_`", {
    reason: "TOKEN_NOT_FOUND",
  });
}

export function isOwn({ tenant, issuer, subject }: TokenRow, caller: CallerIdentity): boolean {
  return tenant === caller.tenant && issuer === caller.issuer && subject === caller.subject;
}
