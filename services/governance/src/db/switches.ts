/** The kill switch's queries. Whoever changes a switch holds the lock of the signed switches (lockState). */
import type { CallerIdentity, Queryable, SwitchKind, SwitchTarget, Tx } from "@sallyport/runtime";
import { everybodys, type SwitchRow } from "../domain/switch.ts";
import { tableOf } from "./table.ts";

const columns: Readonly<Record<keyof SwitchRow, string>> = {
  id: "id",
  kind: "kind",
  target: "target",
  tenant: "tenant",
  state: "state",
  setter: "setter",
  setBy: "set_by",
  setAt: "set_at",
  expiresAt: "expires_at",
  asker: "asker",
  resumeAskedBy: "resume_asked_by",
  liftedBy: "lifted_by",
  endedAt: "ended_at",
  breakGlass: "break_glass",
  ofPlatform: "of_platform",
};
const { selected, insertion } = tableOf<SwitchRow>("switches", columns);
const holding = "state IN ('active', 'resume_asked')";

/** False when there is one of this id already. */
export async function insertSwitch(tx: Tx, row: SwitchRow): Promise<boolean> {
  const [sql, values] = insertion(row, { target: JSON.stringify(row.target) });
  return (await tx.query(`${sql} ON CONFLICT DO NOTHING`, values)).rowCount === 1;
}

export async function findSwitch(db: Queryable, id: string): Promise<SwitchRow | undefined> {
  return (await db.query<SwitchRow>(`SELECT ${selected} FROM switches WHERE id = $1`, [id])).rows[0];
}

/** The kinds of the switches that hold and are about this identity or its credential by name. */
export async function kindsAbout(db: Queryable, caller: CallerIdentity, now: Date): Promise<SwitchKind[]> {
  const { tenant, issuer, subject, credential } = caller;
  const sql = `SELECT DISTINCT kind FROM switches WHERE ${holding} AND (expires_at IS NULL OR expires_at > $1)
    AND target IN ($2, $3)`;
  const targets: SwitchTarget[] = [
    { scope: "identity", tenant, issuer, subject },
    { scope: "credential", credential },
  ];
  const { rows } = await db.query<{ kind: SwitchKind }>(sql, [now, ...targets.map((target) => JSON.stringify(target))]);
  return rows.map(({ kind }) => kind);
}

export async function listHolding(tx: Tx): Promise<SwitchRow[]> {
  return (await tx.query<SwitchRow>(`SELECT ${selected} FROM switches WHERE ${holding} ORDER BY set_at, id`)).rows;
}

/** Which of these ids have ended. */
export async function endedAmong(tx: Tx, ids: readonly string[]): Promise<string[]> {
  const sql = `SELECT id FROM switches WHERE id = ANY ($1) AND NOT ${holding} ORDER BY id`;
  return (await tx.query<{ id: string }>(sql, [ids])).rows.map(({ id }) => id);
}

export interface Page {
  /** Undefined: of every tenant. Otherwise this tenant's, and everybody's. */
  tenant: string | undefined;
  includeEnded: boolean;
  limit: number;
}

/** Newest first. */
export async function listSwitches(db: Queryable, { tenant, includeEnded, limit }: Page): Promise<SwitchRow[]> {
  const sql = `SELECT ${selected} FROM switches WHERE ($1::text IS NULL OR tenant IN ($1, $2)) AND ($3 OR ${holding})
    ORDER BY set_at DESC, id LIMIT $4`;
  return (await db.query<SwitchRow>(sql, [tenant ?? null, everybodys, includeEnded, limit])).rows;
}

export async function askResume(tx: Tx, id: string, asker: string, askedBy: string): Promise<SwitchRow> {
  const sql = `UPDATE switches SET state = 'resume_asked', asker = $2, resume_asked_by = $3 WHERE id = $1 AND state = 'active'
    RETURNING ${selected}`;
  return (await tx.query<SwitchRow>(sql, [id, asker, askedBy])).rows[0]!;
}

/** The table itself refuses a lifter who is the asker. */
export async function liftSwitch(tx: Tx, id: string, lifter: string, liftedBy: string, at: Date): Promise<SwitchRow> {
  const sql = `UPDATE switches SET state = 'lifted', lifter = $2, lifted_by = $3, ended_at = $4
    WHERE id = $1 AND state = 'resume_asked' RETURNING ${selected}`;
  return (await tx.query<SwitchRow>(sql, [id, lifter, liftedBy, at])).rows[0]!;
}

/** Ends what is past its time and returns it. */
export async function expireSwitches(tx: Tx, now: Date): Promise<SwitchRow[]> {
  const sql = `UPDATE switches SET state = 'expired', ended_at = $1 WHERE ${holding} AND expires_at <= $1 RETURNING ${selected}`;
  return (await tx.query<SwitchRow>(sql, [now])).rows;
}

export async function anyExpired(db: Queryable, now: Date): Promise<boolean> {
  const sql = `SELECT EXISTS (SELECT FROM switches WHERE ${holding} AND expires_at <= $1) AS found`;
  return (await db.query<{ found: boolean }>(sql, [now])).rows[0]?.found === true;
}

export interface Step {
  switchId: string;
  event: string;
  /** "<issuer> <subject>"; '' for governance itself. */
  person: string;
  justification: string;
  at: Date;
  version: number;
}

export async function insertStep(tx: Tx, step: Step): Promise<void> {
  const sql = `INSERT INTO switch_history (switch_id, event, person, justification, at, version)
    VALUES ($1, $2, $3, $4, $5, $6)`;
  await tx.query(sql, [step.switchId, step.event, step.person, step.justification, step.at, step.version]);
}
