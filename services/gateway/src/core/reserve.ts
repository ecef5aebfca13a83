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

export interface Reserving {
  /** Response fields that tell the caller how much is left. Rejects with a QuotaError, or UNAVAILABLE. */
  readonly granted: Promise<Record<string, string>>;
  /** Likely to be refused: nothing should be done for the call before it is granted. */
  readonly doubtful: boolean;
}

export function reserve({ quotas, policy }: Context, wanted: Reservation): Reserving {
  const { id, identity, model, take } = wanted;
  const counters = countersFor(policy.get().settings.quotas, identity, model);
  const doubtful = quotas.doubtful(counters);
  const report = withSpan("reserve quotas", {}, () => quotas.reserve(id, take, counters));
  const granted = report.then((counted) => quotaFields(counted, take));
  // Whoever waits for it hears of it.
  granted.catch(() => undefined);
  return { granted, doubtful };
}
