/** Who calls, and whether policy lets them: from the signed policy and switches in force; stale means refuse. */
import type { AuthzInput } from "@sallyport/policy";
import { type AppError, isAboutCaller, notAuthorised, strongestOf, switchCode, switchError } from "@sallyport/runtime";
import type { Context } from "../context.ts";

export type Action = "audit.read" | "audit.prove";

/**
 * Throws unless the bearer of this token may do that, by policy. `audit.read`: returns the one tenant whose records it may
 * read, or undefined for the whole log. `audit.prove`: heads and hashes, which say nothing about any request.
 */
export async function authorise(
  { tokens, policy, switches }: Context,
  bearer: string | undefined,
  action: Action,
): Promise<string | undefined> {
  const identity = await tokens.verify(bearer);
  // Whom a switch names is not heard; a pause of everything or of a tenant is no reason to keep the record from its auditor.
  const named = strongestOf(switches.holding().filter(({ target }) => isAboutCaller(target, identity)));
  if (named) throw switchError(switchCode(named));
  const { tenant } = identity;
  const ask = (resource: AuthzInput["resource"]) => policy.get().authorise({ action, identity, resource });
  if (action === "audit.read" && ask({ platform: true }).allow) return undefined;
  const { allow, reason } = ask({ tenant });
  if (!allow) throw notAuthorised(action, reason);
  return tenant;
}

/** The log as files holds every tenant's records. */
export async function authoriseWhole(context: Context, bearer: string | undefined): Promise<void> {
  if ((await authorise(context, bearer, "audit.read")) !== undefined) throw notOfAll();
}

export function notOfAll(): AppError {
  return notAuthorised("audit.read", "PLATFORM_ONLY");
}
