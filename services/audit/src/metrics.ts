/** The log: how large, how fresh, how fast it takes what comes; and what the vault keeps. */
import { cached, counter, type Db, histogram, observeValue, secondsSince } from "@sallyport/runtime";
import type { Context } from "./context.ts";

const lagBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 60, 600];

const records = counter("sallyport_log_records_total", "Events by what became of them: logged, duplicate, rejected.", [
  "status",
]);
const batches = histogram("sallyport_log_append_seconds", "Time of one append: records, tiles, vault, signed head.");
const batchSizes = histogram(
  "sallyport_log_append_operations",
  "Records that shared one signed head.",
  [],
  [1, 2, 4, 8, 16, 32, 64, 128, 256],
);
const lag = histogram(
  "sallyport_log_lag_seconds",
  "From the bus taking an event to the signed head that covers it.",
  ["producer"],
  lagBuckets,
);
const vaultOpened = counter("sallyport_vault_opened_total", "Bodies opened for reviewers, by outcome.", ["outcome"]);

export function countRecord(status: string): void {
  records.inc({ status });
}

export function countAppend(startedAt: number, items: number): void {
  batches.observe({}, secondsSince(startedAt));
  batchSizes.observe({}, items);
}

/** `storedMs`: when the stream took the event, Unix milliseconds. */
export function countLag(producer: string, storedMs: number, now: Date): void {
  lag.observe({ producer }, Math.max(0, now.getTime() - storedMs) / 1_000);
}

export function countOpened(outcome: string): void {
  vaultOpened.inc({ outcome });
}

const askEveryMs = 5_000;
/** Counting more would cost more than it tells. */
const countedRows = 100_000;

interface Facts {
  size: number;
  age: number;
  rejected: number;
  gaps: number;
  keys: number;
}

/** Read at each scrape; an unreachable database leaves the numbers out rather than guessing them. */
export function observeLog({ db, appender }: { db: Db; appender: Context["appender"] }): Disposable {
  const sql = `SELECT (SELECT size FROM head)::float AS size,
    (SELECT extract(epoch FROM now() - signed_at) FROM head)::float AS age,
    (SELECT count(*) FROM (SELECT 1 FROM rejections LIMIT ${countedRows}) AS counted)::float AS rejected,
    (SELECT count(*) FROM arrivals WHERE gap_since IS NOT NULL)::float AS gaps,
    greatest((SELECT reltuples FROM pg_class WHERE oid = 'vault_keys'::regclass), 0)::float AS keys`;
  const ask = cached(askEveryMs, async () => (await db.query<Facts>(sql)).rows[0]!);
  const stack = new DisposableStack();
  const value = (name: string, help: string, read: (facts: Facts) => number) =>
    stack.use(observeValue(name, help, async () => read(await ask())));
  value("sallyport_log_size", "Records in the log.", ({ size }) => size);
  value("sallyport_log_checkpoint_age_seconds", "Time since the head was signed last.", ({ age }) => age);
  value("sallyport_log_rejected", "Events that could not become records.", ({ rejected }) => rejected);
  value("sallyport_log_gaps", "Producer epochs from which events are missing.", ({ gaps }) => gaps);
  value("sallyport_vault_keys", "Requests whose key the vault holds, as the database estimates.", ({ keys }) => keys);
  stack.use(observeValue("sallyport_log_waiting", "Items that wait for their append.", () => appender.waiting));
  return stack;
}
