/** Bindings of client certificates. What is `listed` is in the signed value. */
import type { Queryable, Tx } from "@sallyport/runtime";
import type { CertificateRow } from "../domain/credential.ts";
import { tableOf } from "./table.ts";
import type { Ending } from "./tokens.ts";

const columns: Readonly<Record<keyof CertificateRow, string>> = {
  id: "id",
  spiffeId: "spiffe_id",
  subjectDn: "subject_dn",
  tenant: "tenant",
  subject: "subject",
  groups: "groups",
  creator: "creator",
  createdBy: "created_by",
  createdAt: "created_at",
  expiresAt: "expires_at",
  unboundAt: "unbound_at",
};
const { selected, insertion } = tableOf<CertificateRow>("certificates", columns);

/** False when the certificate is bound already. */
export async function insertBinding(tx: Tx, row: CertificateRow): Promise<boolean> {
  const [sql, values] = insertion(row);
  return (await tx.query(`${sql} ON CONFLICT DO NOTHING`, values)).rowCount === 1;
}

export async function findBinding(db: Queryable, id: string): Promise<CertificateRow | undefined> {
  return (await db.query<CertificateRow>(`SELECT ${selected} FROM certificates WHERE id::text = $1`, [id])).rows[0];
}

export async function listBound(tx: Tx): Promise<CertificateRow[]> {
  return (await tx.query<CertificateRow>(`SELECT ${selected} FROM certificates WHERE listed ORDER BY id`)).rows;
}

export interface BindingPage {
  /** Undefined: of every tenant. */
  tenant: string | undefined;
  includeEnded: boolean;
  limit: number;
}

/** Newest first. */
export async function listBindings(db: Queryable, { tenant, includeEnded, limit }: BindingPage) {
  const sql = `SELECT ${selected} FROM certificates WHERE ($1::text IS NULL OR tenant = $1) AND ($2 OR listed)
    ORDER BY created_at DESC, id LIMIT $3`;
  return (await db.query<CertificateRow>(sql, [tenant ?? null, includeEnded, limit])).rows;
}

/** Undefined when it was unbound before. */
export async function unbindListed(tx: Tx, id: string, { at, by, justification }: Ending) {
  const sql = `UPDATE certificates SET listed = false, unbound_at = $2, unbound_by = $3, justification = $4
    WHERE id::text = $1 AND unbound_at IS NULL RETURNING ${selected}`;
  return (await tx.query<CertificateRow>(sql, [id, at, by, justification])).rows[0];
}

/** Whether any was past its time; it is no longer listed then. */
export async function unlistExpiredBindings(tx: Tx, now: Date): Promise<boolean> {
  const sql = "UPDATE certificates SET listed = false WHERE listed AND expires_at <= $1";
  return ((await tx.query(sql, [now])).rowCount ?? 0) > 0;
}

export async function anyBindingExpired(db: Queryable, now: Date): Promise<boolean> {
  const sql = "SELECT EXISTS (SELECT FROM certificates WHERE listed AND expires_at <= $1) AS found";
  return (await db.query<{ found: boolean }>(sql, [now])).rows[0]?.found === true;
}
