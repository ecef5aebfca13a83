import type { RotateTokenRequest } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, apiTokenKey, type CallerIdentity, createApiToken } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, personOf } from "../core/authorise.ts";
import { credentialEvent } from "../core/credential-events.ts";
import { putNow } from "../core/signed-state.ts";
import { signTokens } from "../core/signed-values.ts";
import { tokenView } from "../core/views.ts";
import { countListed, endListed, insertToken } from "../db/tokens.ts";
import { keptGroups, readRotation, serviceIssuer, type TokenRow } from "../domain/credential.ts";
import { maxTokensOfIdentity, tooMany } from "./create-token.ts";
import { isOwn, visibleToken } from "./revoke-token.ts";

/** A successor, and an end for the one before: in between both hold, so that nothing stops meanwhile. */
export async function rotateToken(context: Context, caller: CallerIdentity, request: RotateTokenRequest) {
  const { clock, ids, outbox, policy } = context;
  const found = await visibleToken(context, caller, request.id);
  mayHold(context, caller, found);
  const now = clock.now();
  const { formerEndsAt, expiresAt } = readRotation(request, now);
  const { grantable } = policy.get().settings.credentials;
  const groups = keptGroups(found, grantable, isOwn(found, caller) ? caller : undefined);
  const { id, token: secret, hash } = createApiToken(ids);
  const row: TokenRow = {
    ...found,
    ...{ id, groups, expiresAt, creator: personOf(caller), createdBy: caller.subject, createdAt: now, revokedAt: null },
  };
  const rotated = await outbox.commit(async (tx) => {
    const former = await endListed(tx, found.id, formerEndsAt);
    if (!former) throw ended();
    if ((await countListed(tx, row)) > maxTokensOfIdentity) throw tooMany();
    await insertToken(tx, row, hash);
    const states = [];
    // In one order, so that two rotations never wait for each other.
    for (const key of [...new Set([apiTokenKey(found.id), apiTokenKey(id)])].sort()) {
      states.push(await signTokens(context, tx, key));
    }
    const version = Math.max(...states.map((state) => state.version));
    const messages = [
      credentialEvent("credential.rotated", caller, former, version),
      credentialEvent("credential.created", caller, row, version),
    ];
    return { value: { former, states }, messages };
  });
  for (const state of rotated.states) await putNow(context, state);
  return { token: tokenView(row), secret, former: tokenView(rotated.former) };
}

/** Whoever gets the successor can act as its identity: a colleague's own token is for the colleague to replace. */
function mayHold(context: Context, caller: CallerIdentity, found: TokenRow): void {
  const { tenant } = found;
  if (isOwn(found, caller)) authorise(context, caller, "token.create", { tenant, ownerSubject: caller.subject });
  else if (found.issuer === serviceIssuer) authorise(context, caller, "token.create-service", { tenant });
  else {
    throw new AppError("PERMISSION_DENIED", "only its owner can replace a person's token; you can revoke it", {
      reason: "NOT_YOURS",
    });
  }
}

function ended(): AppError {
  return new AppError("FAILED_PRECONDITION", "this API token has ended; make a new one", { reason: "TOKEN_ENDED" });
}
