/** The content vault's rows: ciphertexts, and the wrapped keys without which they are noise. */
import type { Queryable, Tx } from "@sallyport/runtime";
import type { Body } from "../domain/event.ts";

export type WrappedKey =
  /** Under the vault's master key of this id. */
  | { readonly wrapping: "master"; readonly wrapped: Uint8Array; readonly masterId: string }
  | { readonly wrapping: "jwe"; readonly wrapped: Uint8Array };

export interface VaultEntry {
  readonly requestId: string;
  readonly recordIndex: number;
  readonly bodies: readonly Body[];
  readonly key: WrappedKey | undefined;
}

/** Stores what came with fresh records. A request's first key stays: another one could not open what is there. */
export function insertVault(tx: Tx, entries: readonly VaultEntry[], now: Date): void {
  for (const { requestId, key } of entries) {
    if (key === undefined) continue;
    const sql = `INSERT INTO vault_keys (request_id, wrapping, wrapped, master_id, stored_at)
      VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`;
    const masterId = key.wrapping === "master" ? key.masterId : null;
    tx.send(sql, [requestId, key.wrapping, Buffer.from(key.wrapped), masterId, now]);
  }
  const rows = entries.flatMap(({ requestId, recordIndex, bodies }) =>
    bodies.map((body) => ({ ...body, requestId, recordIndex })),
  );
  if (rows.length === 0) return;
  const sql = `INSERT INTO vault_bodies (request_id, kind, context, attempt, index, ciphertext, record_index)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::bytea[], $7::bigint[])`;
  tx.send(sql, [
    rows.map(({ requestId }) => requestId),
    rows.map(({ kind }) => kind),
    rows.map(({ context }) => context),
    rows.map(({ attempt }) => attempt),
    rows.map(({ index }) => index),
    rows.map(({ ciphertext }) => Buffer.from(ciphertext)),
    rows.map(({ recordIndex }) => recordIndex),
  ]);
}

export async function findKey(db: Queryable, requestId: string): Promise<WrappedKey | undefined> {
  const sql = `SELECT wrapping, wrapped, master_id AS "masterId" FROM vault_keys WHERE request_id = $1`;
  const { rows } = await db.query<WrappedKey>(sql, [requestId]);
  return rows[0] && { ...rows[0], wrapped: new Uint8Array(rows[0].wrapped) };
}

/** Rows of a time when there was one master key only. */
export async function adoptUnnamed(db: Queryable, oldestId: string): Promise<void> {
  const sql = "UPDATE vault_keys SET master_id = $1 WHERE wrapping = 'master' AND master_id IS NULL";
  await db.query(sql, [oldestId]);
}

const underFormer = "wrapping = 'master' AND (master_id < $1 OR master_id > $1)";

export async function countUnderFormer(db: Queryable, newestId: string): Promise<number> {
  const sql = `SELECT count(*) FROM vault_keys WHERE ${underFormer}`;
  return Number((await db.query<{ count: string }>(sql, [newestId])).rows[0]!.count);
}

export interface FormerWrap {
  readonly requestId: string;
  readonly wrapped: Uint8Array;
  readonly masterId: string;
}

export async function lockUnderFormer(tx: Tx, newestId: string, limit: number): Promise<FormerWrap[]> {
  const sql = `SELECT request_id AS "requestId", wrapped, master_id AS "masterId" FROM vault_keys
    WHERE ${underFormer} LIMIT $2 FOR UPDATE`;
  const { rows } = await tx.query<FormerWrap>(sql, [newestId, limit]);
  return rows.map((row) => ({ ...row, wrapped: new Uint8Array(row.wrapped) }));
}

export async function updateWraps(
  tx: Tx,
  masterId: string,
  wraps: readonly { requestId: string; wrapped: Uint8Array }[],
): Promise<void> {
  const sql = `UPDATE vault_keys SET wrapped = new.wrapped, master_id = $1
    FROM unnest($2::text[], $3::bytea[]) AS new (request_id, wrapped) WHERE vault_keys.request_id = new.request_id`;
  const ids = wraps.map(({ requestId }) => requestId);
  await tx.query(sql, [masterId, ids, wraps.map(({ wrapped }) => Buffer.from(wrapped))]);
}

export interface StoredBody extends Body {
  readonly recordIndex: number;
}

/** The bodies of one kind that came with the newest record that has any, in order. */
export async function newestBodies(db: Queryable, requestId: string, kind: Body["kind"]): Promise<StoredBody[]> {
  const sql = `SELECT kind, context, attempt, index, ciphertext, record_index FROM vault_bodies
    WHERE request_id = $1 AND kind = $2 AND record_index = (
      SELECT max(record_index) FROM vault_bodies WHERE request_id = $1 AND kind = $2)
    ORDER BY attempt, index`;
  const { rows } = await db.query<Omit<Body, "index"> & { index: number; record_index: unknown }>(sql, [
    requestId,
    kind,
  ]);
  return rows.map(({ record_index, ciphertext, ...row }) => ({
    ...row,
    ciphertext: new Uint8Array(ciphertext),
    recordIndex: Number(record_index),
  }));
}
