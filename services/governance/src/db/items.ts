/** The review queue's queries. Every change is one update guarded by the state and lease that it relies on. */
import type { Queryable, Tx } from "@sallyport/runtime";
import type { Item, ReviewOutcome } from "../domain/item.ts";
import { tableOf } from "./table.ts";

const columns: Readonly<Record<keyof Item, string>> = {
  requestId: "request_id",
  stage: "stage",
  tenant: "tenant",
  subject: "subject",
  model: "model",
  hold: "hold",
  findings: "findings",
  heldAt: "held_at",
  expiresAt: "expires_at",
  needsSecond: "needs_second",
  state: "state",
  leaseId: "lease_id",
  holder: "holder",
  claimedBy: "claimed_by",
  leaseExpiresAt: "lease_expires_at",
  firstReviewer: "first_reviewer",
  firstReviewedBy: "first_reviewed_by",
  decision: "decision",
  decidedBy: "decided_by",
  decidedAt: "decided_at",
};
const { selected, insertion } = tableOf<Item>("items", columns);

export type NewItem = Pick<
  Item,
  "requestId" | "stage" | "tenant" | "subject" | "model" | "hold" | "findings" | "heldAt" | "expiresAt" | "needsSecond"
>;

/** Idempotent: the same hold may be delivered again. */
export async function insertItem(tx: Tx, item: NewItem): Promise<void> {
  const [sql, values] = insertion(item, { findings: JSON.stringify(item.findings) });
  await tx.query(`${sql} ON CONFLICT DO NOTHING`, values);
}

/** The request's newest item: a prompt's is closed before its output can be held. */
export async function findItem(db: Queryable, requestId: string): Promise<Item | undefined> {
  const sql = `SELECT ${selected} FROM items WHERE request_id = $1 ORDER BY held_at DESC, stage DESC LIMIT 1`;
  return (await db.query<Item>(sql, [requestId])).rows[0];
}

export interface Page {
  /** Undefined: of every tenant. */
  tenant: string | undefined;
  includeClosed: boolean;
  now: Date;
  size: number;
  /** The last item of the page before. */
  after?: { heldAt: Date; requestId: string; stage: string };
}

/** Oldest first. */
export async function listPage(db: Queryable, { tenant, includeClosed, now, size, after }: Page): Promise<Item[]> {
  const sql = `SELECT ${selected} FROM items WHERE ($1::text IS NULL OR tenant = $1)
    AND ($2 OR (state IN ('open', 'second_review') AND expires_at > $3))
    AND ($4::timestamptz IS NULL OR (held_at, request_id, stage) > ($4, $5, $6))
    ORDER BY held_at, request_id, stage LIMIT $7`;
  const from = [after?.heldAt ?? null, after?.requestId ?? "", after?.stage ?? ""];
  return (await db.query<Item>(sql, [tenant ?? null, includeClosed, now, ...from, size])).rows;
}

export interface Lease {
  id: string;
  holder: string;
  claimedBy: string;
  now: Date;
  expiresAt: Date;
}

/** Undefined when somebody else was faster. */
export async function leaseItem(tx: Tx, item: Item, lease: Lease): Promise<Item | undefined> {
  const sql = `UPDATE items SET lease_id = $4, holder = $5, claimed_by = $6, lease_expires_at = $7
    WHERE request_id = $1 AND stage = $2 AND state = $3 AND first_reviewer <> $5
      AND (lease_expires_at IS NULL OR lease_expires_at <= $8 OR holder = $5) RETURNING ${selected}`;
  const { id, holder, claimedBy, expiresAt, now } = lease;
  return (await tx.query<Item>(sql, [...keyOf(item), item.state, id, holder, claimedBy, expiresAt, now])).rows[0];
}

export interface Closing {
  outcome: ReviewOutcome;
  by: string;
  at: Date;
}

/** Decided, under the lease that the decision was made with. Undefined when that lease is gone. */
export async function closeItem(tx: Tx, item: Item, { outcome, by, at }: Closing): Promise<Item | undefined> {
  const sql = `UPDATE items SET state = 'decided', decision = $5, decided_by = $6, decided_at = $7
    WHERE request_id = $1 AND stage = $2 AND state = $3 AND lease_id = $4 AND lease_expires_at > $7 RETURNING ${selected}`;
  return (await tx.query<Item>(sql, [...keyOf(item), item.state, item.leaseId, outcome, by, at])).rows[0];
}

/** One person allowed it: back into the queue, for another. */
export async function passOn(tx: Tx, item: Item, now: Date): Promise<Item | undefined> {
  const sql = `UPDATE items SET state = 'second_review', first_reviewer = holder, first_reviewed_by = claimed_by,
      lease_id = '', holder = '', claimed_by = '', lease_expires_at = NULL
    WHERE request_id = $1 AND stage = $2 AND state = 'open' AND lease_id = $3 AND lease_expires_at > $4 RETURNING ${selected}`;
  return (await tx.query<Item>(sql, [...keyOf(item), item.leaseId, now])).rows[0];
}

/** Closes what is past its time and returns it. */
export async function expireItems(tx: Tx, now: Date, limit: number): Promise<Item[]> {
  const sql = `UPDATE items SET state = 'expired', decided_at = $1 WHERE (request_id, stage) IN (
      SELECT request_id, stage FROM items WHERE state IN ('open', 'second_review') AND expires_at <= $1
      ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING ${selected}`;
  return (await tx.query<Item>(sql, [now, limit])).rows;
}

export interface DecisionRow {
  reviewer: string;
  decision: ReviewOutcome;
  justification: string;
  digest: string;
  at: Date;
}

export async function insertDecision(tx: Tx, item: Item, row: DecisionRow): Promise<void> {
  const sql = `INSERT INTO decisions (request_id, stage, reviewer, decision, justification, justification_digest, decided_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)`;
  await tx.query(sql, [...keyOf(item), row.reviewer, row.decision, row.justification, row.digest, row.at]);
}

function keyOf({ requestId, stage }: Item): [string, string] {
  return [requestId, stage];
}
