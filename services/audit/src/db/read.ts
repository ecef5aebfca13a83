/** Reading the log. Records and tiles only ever grow, so nothing here needs a lock once the head is known. */
import type { Queryable } from "@sallyport/runtime";
import { type Tile, tilePath } from "@sallyport/tlog";

export interface StoredRecord {
  readonly index: number;
  readonly json: Uint8Array;
  readonly leaf: Uint8Array;
  /** Whose it is; undefined: the platform's own. */
  readonly tenant: string | undefined;
}

const columns = "index, json, leaf_hash, tenant";

export async function recordAt(db: Queryable, index: number): Promise<StoredRecord | undefined> {
  return one(await db.query<Row>(`SELECT ${columns} FROM records WHERE index = $1`, [index]));
}

export async function recordByLeaf(db: Queryable, leaf: Uint8Array): Promise<StoredRecord | undefined> {
  const sql = `SELECT ${columns} FROM records WHERE leaf_hash = $1 ORDER BY index LIMIT 1`;
  return one(await db.query<Row>(sql, [leaf]));
}

/** The request's terminal record, if it has one: the first, since there must be no second. */
export async function terminalRecord(db: Queryable, requestId: string): Promise<StoredRecord | undefined> {
  const sql = `SELECT ${columns} FROM records WHERE request_id = $1 AND terminal ORDER BY index LIMIT 1`;
  return one(await db.query<Row>(sql, [requestId]));
}

export async function newestRecord(db: Queryable, requestId: string): Promise<StoredRecord | undefined> {
  const sql = `SELECT ${columns} FROM records WHERE request_id = $1 ORDER BY index DESC LIMIT 1`;
  return one(await db.query<Row>(sql, [requestId]));
}

/** Whose a request is, as the log knows it. */
export async function tenantOf(db: Queryable, requestId: string): Promise<string | undefined> {
  const sql = "SELECT tenant FROM records WHERE request_id = $1 AND tenant IS NOT NULL ORDER BY index LIMIT 1";
  return (await db.query<{ tenant: string }>(sql, [requestId])).rows[0]?.tenant;
}

/** Which records are meant. */
export interface Selection {
  /** Of these event types; empty: of all. */
  readonly events: readonly string[];
  /** Of this tenant; undefined: of all, and the platform's own. */
  readonly tenant?: string;
}

/** At most `limit` records with `from` ≤ index < `end`, ascending. */
export async function recordPage(
  db: Queryable,
  page: Selection & { from: number; end: number; limit: number },
): Promise<StoredRecord[]> {
  const sql = `SELECT ${columns} FROM records WHERE index >= $1 AND index < $2 AND (cardinality($3::text[]) = 0 OR event = ANY ($3))
    AND ($4::text IS NULL OR tenant = $4) ORDER BY index LIMIT $5`;
  const { rows } = await db.query<Row>(sql, [page.from, page.end, page.events, page.tenant ?? null, page.limit]);
  return rows.map(toRecord);
}

/** Where the last `count` records of the selection begin; `size` when there are none. */
export async function indexOfLast(
  db: Queryable,
  size: number,
  count: number,
  { events, tenant }: Selection,
): Promise<number> {
  if (events.length === 0 && tenant === undefined) return Math.max(size - count, 0);
  const sql = `SELECT min(index) AS first FROM (
    SELECT index FROM records WHERE index < $1 AND (cardinality($2::text[]) = 0 OR event = ANY ($2))
      AND ($3::text IS NULL OR tenant = $3) ORDER BY index DESC LIMIT $4) AS newest`;
  const { rows } = await db.query<{ first: unknown }>(sql, [size, events, tenant ?? null, count]);
  const first = rows[0]?.first;
  return first === null || first === undefined ? size : Number(first);
}

/** Bytes of hash tiles, by path; as wide as asked for. A tile that is not there, or too narrow, is left out. */
export async function tileBytes(db: Queryable, tiles: readonly Tile[]): Promise<Map<string, Uint8Array>> {
  const sql = `SELECT level, index, hashes FROM tiles
    JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) USING (level, index)`;
  const { rows } = await db.query<{ level: unknown; index: unknown; hashes: Uint8Array }>(sql, [
    tiles.map(({ level }) => level),
    tiles.map(({ index }) => index),
  ]);
  const stored = new Map(rows.map(({ level, index, hashes }) => [`${level}/${index}`, hashes]));
  const found = new Map<string, Uint8Array>();
  for (const tile of tiles) {
    const bytes = stored.get(`${tile.level}/${tile.index}`);
    if (bytes === undefined || bytes.length < tile.width * 32) continue;
    found.set(tilePath(tile), new Uint8Array(bytes.subarray(0, tile.width * 32)));
  }
  return found;
}

interface Row {
  index: unknown;
  json: Uint8Array;
  leaf_hash: Uint8Array;
  tenant: string | null;
}

function one({ rows }: { rows: Row[] }): StoredRecord | undefined {
  return rows[0] && toRecord(rows[0]);
}

function toRecord({ index, json, leaf_hash, tenant }: Row): StoredRecord {
  const record = { index: Number(index), json: new Uint8Array(json), leaf: new Uint8Array(leaf_hash) };
  return { ...record, tenant: tenant ?? undefined };
}
