/** Ends or repeats every request that is past a deadline or silent (DESIGN promise P2). */
import { periodically, withSpan } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { findOverdue, type RequestRow } from "../db/ledger.ts";
import { clearCounters, findLeftovers } from "../db/quotas.ts";
import { dueNow, type Patience } from "../domain/request-state.ts";
import type { Told } from "./moves.ts";

const batch = 200;
const everyMs = 1_000;

/** After a start, verdicts that waited for this gateway come first: what they tell of was not silent. */
const catchUpMs = 5_000;

export function startReconciler(context: Context): AsyncDisposable {
  const startedAt = context.clock.now();
  const rounds = periodically(context.log, everyMs, "reconcile", async () => {
    const settled = await reconcile(context, startedAt);
    await settleQuotas(context);
    // A full batch after an outage: the next one at once, so that nobody waits behind it.
    if (settled >= batch) rounds.hasten();
  });
  return rounds;
}

/** Longer than any gateway waits for door 1 and its commit; a request that comes still later finds nothing reserved. */
const acceptGraceMs = 30_000;

/** Quotas of requests whose gateway did not live to settle them. */
export async function settleQuotas({ db, limits, quotas }: Context): Promise<void> {
  for (const id of await findLeftovers(db, limits.door1DeadlineMs + acceptGraceMs, batch)) quotas.settle(id);
  await clearCounters(db, batch);
}

/** One round; how many requests were settled. One that cannot be settled does not keep back the others. */
export async function reconcile(context: Context, startedAt = new Date(0)): Promise<number> {
  const { db, clock, limits, log } = context;
  const now = clock.now();
  const catchingUp = now.getTime() < startedAt.getTime() + catchUpMs;
  const patience = { ...limits, stallMs: catchingUp ? Number.POSITIVE_INFINITY : limits.stallMs };
  const overdue = await db.transaction((tx) =>
    findOverdue(tx, {
      now,
      progressBefore: catchingUp ? new Date(0) : new Date(now.getTime() - limits.stallMs),
      limit: batch,
    }),
  );
  // Side by side: their commits share transactions.
  const settled = await Promise.all(
    overdue.map((row) =>
      withSpan("reconcile", { parent: row.traceparent, requestId: row.id }, () =>
        settle(context, row, now, patience).then(
          () => true,
          (err: unknown) => log.error({ err }, "a request could not be settled, trying again"),
        ),
      ),
    ),
  );
  return settled.filter(Boolean).length;
}

/** What is due is asked again of the locked row: a decision, verdict or cancellation may have come in between. */
async function settle(context: Context, row: RequestRow, now: Date, patience: Patience): Promise<void> {
  const { moves } = context;
  const { id, attempt } = row;
  const due = (current: RequestRow) => dueNow(current, now, patience);
  const told = (current: RequestRow): Told | undefined => {
    if (due(current) === "expire") return expired(current);
    return due(current) === "fail" ? late(current) : undefined;
  };
  switch (due(row)) {
    case "expire":
    case "fail":
      await moves.end(id, told);
      return;
    case "lost": {
      const lost = { attempt, retryable: true, code: "ATTEMPT_LOST", stage: "gateway" };
      return moves.lost(id, { ...lost, still: (current) => due(current) === "lost" });
    }
  }
}

const expired = ({ findings }: RequestRow): Told => ({
  state: "blocked",
  code: "HOLD_EXPIRED",
  stage: "gateway",
  findings,
});

const late = ({ windowsReleased }: RequestRow): Told => ({
  state: "failed",
  code: "DEADLINE_EXCEEDED",
  stage: "gateway",
  detail: { windowsReleased },
});
