/** Takes a call's share of its quotas before anything else is done for it. */
import { type CallerIdentity, withSpan } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { countersFor, type Take } from "../domain/quota.ts";
import { quotaFields } from "../domain/quota-report.ts";

export interface Reservation {
  /** The request's id: whoever reserves settles it, unless the ledger does when the request ends. */
  readonly id: string;
  readonly identity: CallerIdentity;
  /** None for what needs no model. */
  readonly model?: string;
  readonly take: Take;
}

/** Response fields that tell the caller how much is left. Throws a QuotaError, or UNAVAILABLE. */
export async function reserve({ quotas, policy }: Context, wanted: Reservation): Promise<Record<string, string>> {
  const { id, identity, model, take } = wanted;
  const counters = countersFor(policy.get().settings.quotas, identity, model);
  const report = await withSpan("reserve quotas", {}, () => quotas.reserve(id, take, counters));
  return quotaFields(report, take);
}
