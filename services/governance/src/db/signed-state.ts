/** The newest signed value of each watched key. */
import type { Queryable, Tx } from "@sallyport/runtime";

export interface StoredState {
  bucket: string;
  key: string;
  version: number;
  digest: string;
  /** DSSE JSON. */
  envelope: string;
}

type Row = Omit<StoredState, "version"> & { version: string };
const read = (row: Row): StoredState => ({ ...row, version: Number(row.version) });

export async function listStates(db: Queryable): Promise<StoredState[]> {
  return (await db.query<Row>("SELECT bucket, key, version, digest, envelope FROM signed_state")).rows.map(read);
}

export async function findState(db: Queryable, bucket: string, key: string): Promise<StoredState | undefined> {
  const sql = "SELECT bucket, key, version, digest, envelope FROM signed_state WHERE bucket = $1 AND key = $2";
  const { rows } = await db.query<Row>(sql, [bucket, key]);
  return rows[0] && read(rows[0]);
}

/** The key's row, locked until the transaction ends: versions are given out one after the other. */
export async function lockState(tx: Tx, bucket: string, key: string): Promise<StoredState | undefined> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtext($1))", [`signed_state ${bucket} ${key}`]);
  return await findState(tx, bucket, key);
}

export async function saveState(tx: Tx, state: StoredState): Promise<void> {
  const sql = `INSERT INTO signed_state (bucket, key, version, digest, envelope) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (bucket, key) DO UPDATE SET version = $3, digest = $4, envelope = $5`;
  await tx.query(sql, [state.bucket, state.key, state.version, state.digest, state.envelope]);
}
