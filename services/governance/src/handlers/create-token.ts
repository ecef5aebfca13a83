import type { CreateTokenRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, apiTokenKey, type CallerIdentity, createApiToken } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, personOf } from "../core/authorise.ts";
import { credentialEvent } from "../core/credential-events.ts";
import { putNow } from "../core/signed-state.ts";
import { signTokens } from "../core/signed-values.ts";
import { tokenView } from "../core/views.ts";
import { countListed, insertToken } from "../db/tokens.ts";
import { readNewToken, type TokenRow } from "../domain/credential.ts";

export const maxTokensOfIdentity = 20;

/** The answer is the only place where the token ever is. */
export async function createToken(context: Context, caller: CallerIdentity, request: CreateTokenRequest) {
  const { clock, ids, outbox, policy } = context;
  const now = clock.now();
  const { grantable } = policy.get().settings.credentials;
  const { own, ...wanted } = readNewToken(request, caller, grantable, now);
  const { tenant } = wanted;
  if (own) authorise(context, caller, "token.create", { tenant, ownerSubject: caller.subject });
  else authorise(context, caller, "token.create-service", { tenant });
  const { id, token: secret, hash } = createApiToken(ids);
  const made = { creator: personOf(caller), createdBy: caller.subject, createdAt: now, revokedAt: null };
  const row: TokenRow = { id, ...wanted, ...made };
  const state = await outbox.commit(async (tx) => {
    if ((await countListed(tx, row)) >= maxTokensOfIdentity) throw tooMany();
    await insertToken(tx, row, hash);
    const state = await signTokens(context, tx, apiTokenKey(id));
    return { value: state, messages: [credentialEvent("credential.created", caller, row, state.version)] };
  });
  await putNow(context, state);
  return { token: tokenView(row), secret };
}

export function tooMany(): AppError {
  const message = `an identity has at most ${maxTokensOfIdentity} API tokens; revoke one that is no longer needed`;
  return new AppError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_TOKENS" });
}
