/** The quotas' tables. All that changes counters is one procedure (migrations/004-quotas.sql): one round trip, one transaction. */
import { type QuotaLimit, quotaMeters } from "@sallyport/policy";
import type { Db } from "@sallyport/runtime";
import type { Counted, Counter, Take } from "../domain/quota.ts";

export interface Attempt {
  /** The request's id. */
  readonly id: string;
  readonly take: Take;
  readonly counters: readonly Counter[];
}

export interface Settlement {
  readonly id: string;
  /** For what has no row in the ledger: true charges what was reserved, false gives it back. */
  readonly keep: boolean;
}

export interface Decision {
  readonly now: Date;
  /** The limit that refuses it; undefined: reserved. */
  readonly refused: QuotaLimit | undefined;
  /** Its counters after the batch. */
  readonly counted: readonly Counted[];
}

/** The attempts' decisions, in order. What is settled comes first, and may have been settled before. */
export async function quotaBatch(
  db: Db,
  settlements: readonly Settlement[],
  attempts: readonly Attempt[],
): Promise<Decision[]> {
  const byKey = new Map(attempts.flatMap((attempt) => attempt.counters.map((each) => [each.key, each])));
  const counters = [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  const keys = counters.map(({ key }) => Buffer.from(key, "hex"));
  const places = new Map(counters.map(({ key }, position) => [key, position + 1]));
  const first = [1];
  for (const attempt of attempts) first.push(first.at(-1)! + attempt.counters.length);
  const values = [
    settlements.map(({ id }) => id),
    settlements.map(({ keep }) => keep),
    keys,
    counters.flatMap(({ row }) => row),
    attempts.map(({ id }) => id),
    attempts.map(({ take }) => take.tokens),
    attempts.map(({ take }) => take.images),
    first,
    attempts.flatMap((attempt) => attempt.counters.map(({ key }) => places.get(key)!)),
  ];
  const counted = await call(db, values).catch(async (error: unknown) => {
    if (!isMissing(error)) throw error;
    // Sorted, in a transaction of its own: nobody waits for another in a circle.
    const insert = "INSERT INTO quota_counters (key) SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING";
    await db.query(insert, [keys]);
    return await call(db, values);
  });
  return attempts.map((attempt, position) =>
    decisionOf(attempt, counted.refused[position]!, counters, places, counted),
  );
}

interface Counters {
  now: number;
  refused: number[];
  used: number[];
  slots: number[];
}

/** Not a SELECT: it is never sent twice by itself, since it may have happened when its answer is lost. */
async function call(db: Db, values: readonly unknown[]): Promise<Counters> {
  const sql = "CALL quota_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)";
  return (await db.query<{ p_result: Counters }>(sql, values)).rows[0]!.p_result;
}

/** SQLSTATE P0002: a counter that nobody has used yet, or that was cleared away. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "P0002";
}

function decisionOf(
  attempt: Attempt,
  refused: number,
  counters: readonly Counter[],
  places: ReadonlyMap<string, number>,
  { now, used, slots }: Counters,
): Decision {
  const width = quotaMeters.length;
  const meter = quotaMeters[(refused % 8) - 1];
  return {
    now: new Date(now),
    refused: counters[Math.floor(refused / 8) - 1]?.limits.find((limit) => limit.meter === meter),
    counted: attempt.counters.map(({ key, limits }) => {
      const end = slots[places.get(key)! - 1]! * width;
      return { limits, used: used.slice(end - width, end) };
    }),
  };
}

/** What nobody settled, because its gateway was killed or the database away: ended, waiting for a person, or never accepted. */
export async function findLeftovers(db: Db, acceptWithinMs: number, limit: number): Promise<string[]> {
  const sql = `SELECT r.request_id AS id FROM quota_reservations r LEFT JOIN requests q ON q.id = r.request_id
    WHERE r.created_at < now() - interval '2 seconds' AND (q.ended_at IS NOT NULL
      OR (q.state = 'held' AND q.hold_stage <> 'collecting' AND r.live)
      OR (q.id IS NULL AND r.created_at < now() - $1 * interval '1 millisecond'))
    LIMIT $2`;
  return (await db.query<{ id: string }>(sql, [acceptWithinMs, limit])).rows.map(({ id }) => id);
}

/** Counters that nobody used for two days say nothing any more. */
export async function clearCounters(db: Db, limit: number): Promise<void> {
  const idle = `SELECT key FROM quota_counters WHERE day < now() - interval '2 days' AND used[7] = 0
    ORDER BY key LIMIT $1 FOR UPDATE SKIP LOCKED`;
  await db.query(`DELETE FROM quota_counters WHERE key IN (${idle})`, [limit]);
}
