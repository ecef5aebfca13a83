/** How the pool is used, how long transactions and commits take, and what waits in the outbox. */
import type { Pool } from "pg";
import { asAppError } from "../errors.ts";
import { cached } from "../telemetry/cached.ts";
import { callBuckets, counter, histogram, observe, observeValue, secondsSince } from "../telemetry/metrics.ts";
import type { Queryable } from "./database.ts";

const askEveryMs = 5_000;
/** Beyond this the number does not matter any more, but counting it would. */
const countedRows = 100_000;

const transactions = histogram(
  "sallyport_db_transaction_seconds",
  "Time from BEGIN to the end, tries included.",
  [],
  callBuckets,
);
const failures = counter("sallyport_db_failures_total", "Queries and transactions that failed, by reason.", ["reason"]);
const commits = histogram(
  "sallyport_outbox_commit_seconds",
  "Time from an operation's arrival to its commit.",
  [],
  callBuckets,
);
const groups = histogram(
  "sallyport_outbox_group_operations",
  "Operations that shared one transaction.",
  [],
  [1, 2, 4, 8, 16, 32, 64, 128],
);

export function observePool(pool: Pick<Pool, "totalCount" | "idleCount" | "waitingCount">, max: number): Disposable {
  const stack = new DisposableStack();
  const states = () =>
    [
      ["used", pool.totalCount - pool.idleCount],
      ["idle", pool.idleCount],
      ["limit", max],
    ] as const;
  stack.use(
    observe(
      "sallyport_db_connections",
      "Connections of the pool, by state; limit: as many as there may be.",
      ["state"],
      () => states().map(([state, value]) => ({ labels: { state }, value })),
    ),
  );
  stack.use(observeValue("sallyport_db_waiting", "Queries that wait for a connection.", () => pool.waitingCount));
  return stack;
}

export async function countTransaction<T>(run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await run();
  } catch (error) {
    failures.inc({ reason: asAppError(error).reason });
    throw error;
  } finally {
    transactions.observe({}, secondsSince(startedAt));
  }
}

export function countGroup(operations: number): void {
  groups.observe({}, operations);
}

export function countCommit(startedAt: number): void {
  commits.observe({}, secondsSince(startedAt));
}

/** `depth`: operations that wait for a transaction. */
export function observeOutbox(db: Queryable, depth: () => number): Disposable {
  const stack = new DisposableStack();
  const sql = `SELECT count(*)::float AS rows, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS age
    FROM (SELECT created_at FROM outbox ORDER BY id LIMIT ${countedRows}) AS waiting`;
  const ask = cached(askEveryMs, async () => (await db.query<{ rows: number; age: number }>(sql)).rows[0]!);
  stack.use(observeValue("sallyport_outbox_waiting", "Operations that wait for their transaction.", depth));
  stack.use(
    observeValue(
      "sallyport_outbox_rows",
      "Messages that are not yet known to be safe.",
      async () => (await ask()).rows,
    ),
  );
  stack.use(
    observeValue("sallyport_outbox_oldest_seconds", "Age of the oldest of them.", async () => (await ask()).age),
  );
  return stack;
}
