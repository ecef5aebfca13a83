/** The registry's queries. Every change of state is one guarded update. */
import type { Queryable, Tx } from "@sallyport/runtime";
import type { ModelState, RegisteredModel } from "../domain/model.ts";
import { tableOf } from "./table.ts";

const columns: Readonly<Record<keyof RegisteredModel, string>> = {
  digest: "digest",
  name: "name",
  version: "version",
  engine: "engine",
  licence: "licence",
  tier: "tier",
  contextTokens: "context_tokens",
  card: "card",
  remoteEndpoint: "remote_endpoint",
  remoteModel: "remote_model",
  sizeBytes: "size_bytes",
  state: "state",
  importer: "importer",
  importedBy: "imported_by",
  importedAt: "imported_at",
  decidedBy: "decided_by",
  decidedAt: "decided_at",
};
const { selected, insertion } = tableOf<RegisteredModel>("models", columns);

type Row = Omit<RegisteredModel, "sizeBytes"> & { sizeBytes: string };
const read = (row: Row): RegisteredModel => ({ ...row, sizeBytes: Number(row.sizeBytes) });

/** False when the digest, or this name and version, is there already. */
export async function insertModel(tx: Tx, model: RegisteredModel): Promise<boolean> {
  const [sql, values] = insertion(model);
  return (await tx.query(`${sql} ON CONFLICT DO NOTHING`, values)).rowCount === 1;
}

export async function findModel(db: Queryable, digest: string): Promise<RegisteredModel | undefined> {
  const { rows } = await db.query<Row>(`SELECT ${selected} FROM models WHERE digest = $1`, [digest]);
  return rows[0] && read(rows[0]);
}

export async function isRegistered(db: Queryable, name: string): Promise<boolean> {
  const sql = "SELECT EXISTS (SELECT FROM models WHERE name = $1) AS found";
  return (await db.query<{ found: boolean }>(sql, [name])).rows[0]?.found === true;
}

export async function listAllModels(db: Queryable): Promise<RegisteredModel[]> {
  return (await db.query<Row>(`SELECT ${selected} FROM models ORDER BY name, imported_at LIMIT 1000`)).rows.map(read);
}

export async function findServed(tx: Tx, name: string): Promise<RegisteredModel | undefined> {
  const sql = `SELECT ${selected} FROM models WHERE name = $1 AND state = 'approved' FOR UPDATE`;
  const { rows } = await tx.query<Row>(sql, [name]);
  return rows[0] && read(rows[0]);
}

export interface Decision {
  from: ModelState;
  to: "approved" | "revoked";
  by: string;
  at: Date;
  justification: string;
}

/** Undefined when the model is no longer in state `from`. */
export async function moveModel(tx: Tx, digest: string, decision: Decision): Promise<RegisteredModel | undefined> {
  const sql = `UPDATE models SET state = $3, decided_by = $4, decided_at = $5, justification = $6
    WHERE digest = $1 AND state = $2 RETURNING ${selected}`;
  const { from, to, by, at, justification } = decision;
  const { rows } = await tx.query<Row>(sql, [digest, from, to, by, at, justification]);
  return rows[0] && read(rows[0]);
}
