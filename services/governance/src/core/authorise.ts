/** Who calls, and whether policy lets them: from the signed policy in force; stale means refuse. */
import type { AuthzInput } from "@sallyport/policy";
import { type CallerIdentity, notAuthorised, switchCode, switchError, switchKinds } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { kindsAbout } from "../db/switches.ts";

/**
 * Throws BANNED, CREDENTIAL_REVOKED or PAUSED for whom a switch names: a thief's revoked token would otherwise make an API
 * token here that nobody has revoked. A pause of everything or of a tenant stops no operator: they must lift it.
 */
export async function authenticate(
  { tokens, db, clock }: Pick<Context, "tokens" | "db" | "clock">,
  bearer: string | undefined,
): Promise<CallerIdentity> {
  const identity = await tokens.verify(bearer);
  const kinds = await kindsAbout(db, identity, clock.now());
  const strongest = switchKinds.find((kind) => kinds.includes(kind));
  if (strongest) throw switchError(switchCode({ kind: strongest }));
  return identity;
}

export function authorise(
  { policy }: Pick<Context, "policy">,
  identity: CallerIdentity,
  action: string,
  resource: AuthzInput["resource"] = {},
): void {
  const { allow, reason } = policy.get().authorise({ action, identity, resource });
  if (!allow) throw notAuthorised(action, reason);
}

export function may(
  { policy }: Pick<Context, "policy">,
  identity: CallerIdentity,
  action: string,
  resource: AuthzInput["resource"],
): boolean {
  return policy.get().authorise({ action, identity, resource }).allow;
}

/** Beyond one tenant: staff of the platform. */
export function mayAcrossTenants(context: Pick<Context, "policy">, identity: CallerIdentity, action: string): boolean {
  return may(context, identity, action, { platform: true });
}

/** With what is another's in the caller's tenant (no issuer is called `*`). */
export function mayForAnybody(context: Pick<Context, "policy">, identity: CallerIdentity, action: string): boolean {
  const { tenant, subject: ownerSubject } = identity;
  return may(context, identity, action, { tenant, ownerSubject, ownerIssuer: "*" });
}

/** One person, whichever token they use. */
export function personOf({ issuer, subject }: Pick<CallerIdentity, "issuer" | "subject">): string {
  return `${issuer} ${subject}`;
}
