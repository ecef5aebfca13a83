/** The ledger's queries. Every change of state is one guarded update, so that two writers can never both win. */
import type { Finding } from "@sallyport/attestation";
import type { Queryable, Tx } from "@sallyport/runtime";
import { entersFrom, type State, type TerminalState } from "../domain/request-state.ts";

export interface RequestRow {
  id: string;
  tenant: string;
  subject: string;
  issuer: string;
  credential: string;
  /** See WatchedCredentials; empty for an access token. */
  credentialRef: string;
  groups: string[];
  operation: string;
  model: string;
  modelDigest: string;
  modelTier: string;
  gatewayId: string;
  clientReference: string;
  idempotencyKey: string | null;
  traceId: string;
  /** W3C Trace Context of the call that brought it: what happens to it later belongs to that trace. */
  traceparent: string;
  sentDigest: string;
  requestDigest: string;
  secretGateway: string;
  secretVault: string;
  job: Uint8Array;
  state: State;
  attempt: number;
  claim: Uint8Array | null;
  windowsReleased: number;
  holdStage: "door1" | "collecting" | "door2" | null;
  holdExpiresAt: Date | null;
  code: string;
  message: string;
  findings: Finding[];
  policyDigest: string;
  leafHash: string;
  createdAt: Date;
  deadlineAt: Date;
  /** When it came to the queue last; null for one that never was there. */
  queuedAt: Date | null;
  progressAt: Date | null;
  endedAt: Date | null;
}

const columns: Readonly<Record<keyof RequestRow, string>> = {
  id: "id",
  tenant: "tenant",
  subject: "subject",
  issuer: "issuer",
  credential: "credential",
  credentialRef: "credential_ref",
  groups: "groups",
  operation: "operation",
  model: "model",
  modelDigest: "model_digest",
  modelTier: "model_tier",
  gatewayId: "gateway_id",
  clientReference: "client_reference",
  idempotencyKey: "idempotency_key",
  traceId: "trace_id",
  traceparent: "traceparent",
  sentDigest: "sent_digest",
  requestDigest: "request_digest",
  secretGateway: "secret_gateway",
  secretVault: "secret_vault",
  job: "job",
  state: "state",
  attempt: "attempt",
  claim: "claim",
  windowsReleased: "windows_released",
  holdStage: "hold_stage",
  holdExpiresAt: "hold_expires_at",
  code: "code",
  message: "message",
  findings: "findings",
  policyDigest: "policy_digest",
  leafHash: "leaf_hash",
  createdAt: "created_at",
  deadlineAt: "deadline_at",
  queuedAt: "dispatched_at",
  progressAt: "progress_at",
  endedAt: "ended_at",
};
const selected = Object.entries(columns)
  .map(([field, column]) => `${column} AS "${field}"`)
  .join(", ");

/** False when what it had reserved of its quotas was given back meanwhile: then it is too late for it. */
export async function insertRequest(tx: Tx, row: RequestRow): Promise<boolean> {
  const fields = Object.keys(columns) as (keyof RequestRow)[];
  const values = fields.map((field) => (field === "findings" ? JSON.stringify(row.findings) : row[field]));
  const marks = fields.map((_, position) => `$${position + 1}`).join(", ");
  // Locked: whoever would give the reservation back now waits, and then finds the row.
  const { rowCount } = await tx.query(
    `INSERT INTO requests (${fields.map((field) => columns[field]).join(", ")})
     SELECT ${marks} FROM quota_reservations WHERE request_id = $1 FOR KEY SHARE`,
    values,
  );
  return rowCount === 1;
}

export async function findRequest(tx: Tx, id: string): Promise<RequestRow | undefined> {
  return one(await tx.query<RequestRow>(`SELECT ${selected} FROM requests WHERE id = $1`, [id]));
}

/** Undefined when it is not queued any more. */
export async function findQueued(db: Queryable, id: string): Promise<RequestRow | undefined> {
  const sql = `SELECT ${selected} FROM requests WHERE id = $1 AND state = 'queued'`;
  return one(await db.query<RequestRow>(sql, [id]));
}

/** Locked until the transaction ends: what is decided on this row, nobody else decides at the same time. */
export async function lockRequest(tx: Tx, id: string): Promise<RequestRow | undefined> {
  return one(await tx.query<RequestRow>(`SELECT ${selected} FROM requests WHERE id = $1 FOR UPDATE`, [id]));
}

/** How far it is, without its bodies: cheap enough to be asked every second. */
export async function findProgress(db: Queryable, id: string) {
  const sql = `SELECT state, windows_released AS "windowsReleased" FROM requests WHERE id = $1`;
  return one(await db.query<Pick<RequestRow, "state" | "windowsReleased">>(sql, [id]));
}

/** A subject is a person's name at one issuer. */
export type Owner = Pick<RequestRow, "tenant" | "issuer" | "subject">;

export async function findByIdempotencyKey(tx: Tx, { tenant, issuer, subject }: Owner, key: string) {
  const sql = `SELECT ${selected} FROM requests WHERE tenant = $1 AND issuer = $2 AND subject = $3 AND idempotency_key = $4`;
  return one(await tx.query<RequestRow>(sql, [tenant, issuer, subject, key]));
}

/** A key may be used again a day after its request was made. */
export async function forgetIdempotencyKey(tx: Tx, id: string): Promise<void> {
  await tx.query("UPDATE requests SET idempotency_key = NULL WHERE id = $1", [id]);
}

/** The claim of the current attempt, unless a window brought it before. False: the attempt is over. */
export async function startRun(tx: Tx, id: string, attempt: number, claim: Uint8Array, now: Date): Promise<boolean> {
  const sql = `UPDATE requests SET state = 'running', claim = $3, progress_at = $4
    WHERE id = $1 AND attempt = $2 AND state = 'queued'`;
  return (await tx.query(sql, [id, attempt, claim, now])).rowCount === 1;
}

export interface Retry {
  attempt: number;
  deadlineAt: Date;
  now: Date;
  /** Whose it is from now on. */
  gatewayId: string;
}

/** To `queued` with a new attempt: after a lost run, or when a person released a held prompt. */
export async function requeue(tx: Tx, row: RequestRow, job: Uint8Array, retry: Retry) {
  const sql = `UPDATE requests SET state = 'queued', attempt = $3, job = $4, claim = NULL, progress_at = NULL, dispatched_at = $5,
    deadline_at = $6, gateway_id = $8, code = '', message = '' WHERE id = $1 AND attempt = $2 AND state::text = ANY($7) AND windows_released = 0
    RETURNING ${selected}`;
  const values = [
    row.id,
    row.attempt,
    retry.attempt,
    job,
    retry.now,
    retry.deadlineAt,
    entersFrom.queued,
    retry.gatewayId,
  ];
  return one(await tx.query<RequestRow>(sql, values));
}

export interface Hold {
  stage: "collecting" | "door2";
  expiresAt: Date;
  code: string;
  message: string;
  findings: readonly Finding[];
  policyDigest: string;
}

/** To `held`: from `running` when door 2 stops the stream, and from `collecting` once it has judged the whole. */
export async function hold(tx: Tx, id: string, attempt: number, held: Hold) {
  const sql = `UPDATE requests SET state = 'held', hold_stage = $3, hold_expires_at = $4, code = $5, message = $6, findings = $7, policy_digest = $8
    WHERE id = $1 AND attempt = $2 AND (state = 'running' OR (state = 'held' AND hold_stage = 'collecting')) RETURNING ${selected}`;
  const values = [
    id,
    attempt,
    held.stage,
    held.expiresAt,
    held.code,
    held.message,
    JSON.stringify(held.findings),
    held.policyDigest,
  ];
  return one(await tx.query<RequestRow>(sql, values));
}

export interface End {
  state: TerminalState;
  code: string;
  message: string;
  findings: readonly Finding[];
  policyDigest: string;
  endedAt: Date;
  leafHash: string;
  /** Null: nothing is charged. */
  tokensUsed: number | null;
}

/** The one write of a terminal state; false when another one was there first. */
export async function end(tx: Tx, id: string, ending: End): Promise<boolean> {
  const sql = `UPDATE requests SET state = $2, code = $3, message = $4, findings = $5, policy_digest = $6, ended_at = $7, leaf_hash = $8,
    tokens_used = $10 WHERE id = $1 AND state::text = ANY($9)`;
  const { state, code, message, findings, policyDigest, endedAt, leafHash, tokensUsed } = ending;
  const values = [
    id,
    state,
    code,
    message,
    JSON.stringify(findings),
    policyDigest,
    endedAt,
    leafHash,
    entersFrom[state],
    tokensUsed,
  ];
  return (await tx.query(sql, values)).rowCount === 1;
}

export interface Overdue {
  now: Date;
  progressBefore: Date;
  limit: number;
}

/** Live requests that need the reconciler: past a deadline, or silent. */
export async function findOverdue(tx: Tx, overdue: Overdue): Promise<RequestRow[]> {
  const sql = `SELECT ${selected} FROM requests WHERE
    (state IN ('queued', 'running') AND deadline_at < $1)
    OR (state = 'held' AND (hold_expires_at < $1 OR (hold_stage = 'collecting' AND deadline_at < $1)))
    OR (state = 'running' AND progress_at < $2)
    ORDER BY deadline_at LIMIT $3`;
  return (await tx.query<RequestRow>(sql, [overdue.now, overdue.progressBefore, overdue.limit])).rows;
}

function one<Row>(result: { rows: Row[] }): Row | undefined {
  return result.rows[0];
}
