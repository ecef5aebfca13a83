/** Re-drives or ends every request that is past a deadline, silent, or never started (DESIGN promise P2). */
import { delay } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { findOverdue, findRequest, markDispatched, type RequestRow } from "../db/ledger.ts";
import { jobMessage } from "./messages.ts";

const batch = 200;
const everyMs = 1_000;

/** A round a second; one that fails (the database is away) is tried again with the next. */
export function startReconciler(context: Context): AsyncDisposable {
  const stop = new AbortController();
  const rounds = (async () => {
    while (!stop.signal.aborted) {
      await reconcile(context).catch((err: unknown) => context.log.warn({ err }, "reconciling failed, trying again"));
      await delay(everyMs, stop.signal).catch(() => {});
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await rounds;
    },
  };
}

/** One round; how many requests it looked at. */
export async function reconcile(context: Context): Promise<number> {
  const { db, clock, limits } = context;
  const now = clock.now();
  const overdue = await db.transaction((tx) =>
    findOverdue(tx, {
      now,
      dispatchedBefore: new Date(now.getTime() - limits.redispatchMs),
      progressBefore: new Date(now.getTime() - limits.stallMs),
      limit: batch,
    }),
  );
  for (const row of overdue) await settle(context, row, now);
  return overdue.length;
}

async function settle(context: Context, row: RequestRow, now: Date): Promise<void> {
  const { moves } = context;
  if (row.state === "held" && row.holdStage !== "collecting") {
    await moves.end(row, { state: "blocked", code: "HOLD_EXPIRED", stage: "gateway", findings: row.findings });
  } else if (row.deadlineAt <= now || row.state === "held") {
    await moves.end(row, {
      state: "failed",
      code: "DEADLINE_EXCEEDED",
      stage: "gateway",
      detail: { windowsReleased: row.windowsReleased },
    });
  } else if (row.state === "running") {
    await moves.lost(row, { retryable: true, code: "ATTEMPT_LOST", stage: "gateway", detail: "the run went silent" });
  } else {
    await dispatchAgain(context, row, now);
  }
}

/** The same attempt under the same message id: a bus that still has it drops this one, a wiped bus takes it. */
async function dispatchAgain({ outbox }: Context, row: RequestRow, now: Date): Promise<void> {
  await outbox.commit(async (tx) => {
    const queued = await markDispatched(tx, row.id, row.attempt, now);
    return { value: undefined, messages: queued ? [jobMessage(queued)] : [] };
  });
}

/** A caller's own ending of a request: cancelled by hand, or gone. */
export async function cancel(
  context: Context,
  requestId: string,
  code: "CANCELLED" | "CLIENT_GONE",
): Promise<RequestRow | undefined> {
  const row = await context.db.transaction((tx) => findRequest(tx, requestId));
  if (!row || row.endedAt) return row;
  const ended = await context.moves.end(row, {
    state: "cancelled",
    code,
    stage: "gateway",
    detail: { windowsReleased: row.windowsReleased },
  });
  return ended ?? context.db.transaction((tx) => findRequest(tx, requestId));
}
