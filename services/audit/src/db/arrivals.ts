/** Which sequences of each producer have arrived, and which are missing. */
import type { Tx } from "@sallyport/runtime";
import type { Place } from "../domain/event.ts";

export interface Gap {
  readonly producer: string;
  readonly epoch: string;
  /** Inclusive ranges of sequences, ascending. */
  readonly missing: readonly { readonly first: number; readonly last: number }[];
}

/** Counts what this transaction has just logged or rejected. */
export function countArrivals(tx: Tx, places: readonly Place[], now: Date): void {
  const epochs = Map.groupBy(places, ({ producer, epoch }) => `${producer}.${epoch}`);
  for (const arrived of epochs.values()) {
    const { producer, epoch } = arrived[0]!;
    const highest = Math.max(...arrived.map(({ sequence }) => sequence));
    tx.send("INSERT INTO arrivals (producer, epoch, complete, highest) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING", [
      producer,
      epoch,
    ]);
    tx.send(advance, [producer, epoch, highest, now]);
  }
}

/** Gaps that have been open since before `openSince` and were not asked for since `askedBefore`; bounded in number. */
export async function takeGaps(tx: Tx, openSince: Date, askedBefore: Date, now: Date): Promise<Gap[]> {
  const { rows } = await tx.query<{ producer: string; epoch: string }>(
    `UPDATE arrivals SET asked_at = $3 WHERE (producer, epoch) IN (
       SELECT producer, epoch FROM arrivals WHERE gap_since <= $1 AND (asked_at IS NULL OR asked_at <= $2)
       ORDER BY gap_since LIMIT 20 FOR UPDATE SKIP LOCKED) RETURNING producer, epoch`,
    [openSince, askedBefore, now],
  );
  const gaps: Gap[] = [];
  for (const { producer, epoch } of rows) {
    const found = await tx.query<{ first: unknown; last: unknown }>(missingRanges, [producer, epoch]);
    const missing = found.rows.map(({ first, last }) => ({ first: Number(first), last: Number(last) }));
    if (missing.length > 0) gaps.push({ producer, epoch, missing });
  }
  return gaps;
}

const seenBeyond = `SELECT sequence FROM records WHERE producer = $1 AND epoch = $2 AND sequence > (SELECT complete FROM arrivals
    WHERE producer = $1 AND epoch = $2)
  UNION SELECT sequence FROM rejections WHERE producer = $1 AND epoch = $2 AND sequence > (SELECT complete FROM arrivals
    WHERE producer = $1 AND epoch = $2)`;

// Among the sequences beyond `complete`, those that equal `complete` plus their rank follow it without a gap.
const advance = `WITH seen AS (${seenBeyond}),
  ranked AS (SELECT sequence, row_number() OVER (ORDER BY sequence) AS rank FROM seen),
  next AS (
    SELECT coalesce(max(sequence) FILTER (WHERE sequence = complete + rank), min(complete)) AS complete
    FROM arrivals LEFT JOIN ranked ON true WHERE producer = $1 AND epoch = $2)
  UPDATE arrivals SET complete = next.complete, highest = greatest(highest, $3),
    gap_since = CASE WHEN next.complete < greatest(highest, $3) THEN coalesce(gap_since, $4) END
  FROM next WHERE producer = $1 AND epoch = $2`;

const missingRanges = `WITH seen AS (${seenBeyond}),
  stepped AS (
    SELECT sequence, lag(sequence, 1, (SELECT complete FROM arrivals WHERE producer = $1 AND epoch = $2))
      OVER (ORDER BY sequence) AS previous FROM seen)
  SELECT previous + 1 AS first, sequence - 1 AS last FROM stepped WHERE sequence > previous + 1 ORDER BY sequence LIMIT 100`;
