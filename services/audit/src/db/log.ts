/**
 * Writing the log: every statement here runs inside the one transaction that holds the head's lock. What has no answer to
 * look at is sent without waiting; when it fails, so does the transaction.
 */
import type { Queryable, Tx } from "@sallyport/runtime";
import type { Frontier } from "@sallyport/tlog";
import type { LogEvent, Place } from "../domain/event.ts";
import { joinFrontier, splitFrontier, type TileGrowth } from "../domain/growth.ts";

export interface Head {
  readonly frontier: Frontier;
  /** Signed note over exactly this frontier's size and root. */
  readonly checkpoint: string;
}

/** The head, locked until the transaction ends; undefined before the log was made. */
export async function lockHead(tx: Tx): Promise<Head | undefined> {
  const { rows } = await tx.query<HeadRow>("SELECT size, frontier, checkpoint FROM head FOR UPDATE");
  return rows[0] && toHead(rows[0]);
}

export async function readHead(db: Queryable): Promise<Head | undefined> {
  const { rows } = await db.query<HeadRow>("SELECT size, frontier, checkpoint FROM head");
  return rows[0] && toHead(rows[0]);
}

/** Makes the head unless another replica just did. */
export async function createHead(tx: Tx, { frontier, checkpoint }: Head, now: Date): Promise<void> {
  const sql = "INSERT INTO head (size, frontier, checkpoint, signed_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
  await tx.query(sql, [frontier.size, joinFrontier(frontier), checkpoint, now]);
}

export function saveHead(tx: Tx, { frontier, checkpoint }: Head, now: Date): void {
  const sql = "UPDATE head SET size = $1, frontier = $2, checkpoint = $3, signed_at = $4";
  tx.send(sql, [frontier.size, joinFrontier(frontier), checkpoint, now]);
}

export interface Taken {
  readonly index: number;
  readonly leaf: Uint8Array;
}

/** Which of these places have a record already, by `producer.epoch.sequence`. */
export async function findTaken(tx: Tx, places: readonly Place[]): Promise<Map<string, Taken>> {
  const sql = `SELECT producer, epoch, sequence, index, leaf_hash FROM records
    JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS place (producer, epoch, sequence) USING (producer, epoch, sequence)`;
  const { rows } = await tx.query<PlaceRow & { index: unknown; leaf_hash: Uint8Array }>(sql, columnsOf(places));
  return new Map(rows.map((row) => [keyOf(row), { index: Number(row.index), leaf: new Uint8Array(row.leaf_hash) }]));
}

/** The record of an earlier rejection of the same bytes in the same place. */
export async function findRejection(tx: Tx, place: Place, digest: Uint8Array): Promise<number | undefined> {
  const sql =
    "SELECT record_index FROM rejections WHERE producer = $1 AND epoch = $2 AND sequence = $3 AND digest = $4";
  const { rows } = await tx.query<{ record_index: unknown }>(sql, [
    place.producer,
    place.epoch,
    place.sequence,
    digest,
  ]);
  return rows[0] && Number(rows[0].record_index);
}

export interface Rejection {
  readonly place: Place;
  /** SHA-256 of `bytes`. */
  readonly digest: Uint8Array;
  readonly bytes: Uint8Array;
  /** Of the record that tells about it. */
  readonly index: number;
}

export function insertRejection(tx: Tx, { place, digest, bytes, index }: Rejection): void {
  const sql =
    "INSERT INTO rejections (producer, epoch, sequence, digest, bytes, record_index) VALUES ($1, $2, $3, $4, $5, $6)";
  const values = [place.producer, place.epoch, place.sequence, Buffer.from(digest), Buffer.from(bytes), index];
  tx.send(sql, values);
}

/** The last number that a producer's epoch has used, 0 when none. */
export async function lastSequence(tx: Tx, producer: string, epoch: string): Promise<number> {
  const sql = "SELECT coalesce(max(sequence), 0) AS last FROM records WHERE producer = $1 AND epoch = $2";
  const { rows } = await tx.query<{ last: unknown }>(sql, [producer, epoch]);
  return Number(rows[0]?.last);
}

/** Which of these requests have more than one terminal record. */
export async function findTwiceEnded(tx: Tx, requestIds: readonly string[]): Promise<string[]> {
  if (requestIds.length === 0) return [];
  const sql = `SELECT request_id FROM records WHERE request_id = ANY ($1) AND terminal
    GROUP BY request_id HAVING count(*) > 1`;
  const { rows } = await tx.query<{ request_id: string }>(sql, [requestIds]);
  return rows.map(({ request_id }) => request_id);
}

/** Inserts records at `first`, `first` + 1, … */
export async function insertRecords(tx: Tx, first: number, events: readonly LogEvent[], now: Date): Promise<void> {
  const sql = `INSERT INTO records (index, producer, epoch, sequence, event, request_id, terminal, json, leaf_hash, tenant, logged_at)
    SELECT $1::bigint + n - 1, producer, epoch, sequence, event, request_id, terminal, json, leaf_hash, tenant, $2
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::boolean[], $9::bytea[], $10::bytea[], $11::text[])
      WITH ORDINALITY AS record (producer, epoch, sequence, event, request_id, terminal, json, leaf_hash, tenant, n)`;
  await tx.query(sql, [
    first,
    now,
    ...columnsOf(events.map(({ place }) => place)),
    events.map(({ event }) => event),
    events.map(({ requestId }) => requestId ?? null),
    events.map(({ terminal }) => terminal),
    events.map(({ record }) => Buffer.from(record)),
    events.map(({ leaf }) => Buffer.from(leaf)),
    events.map(({ tenant }) => tenant ?? null),
  ]);
}

/** Appends hashes to tiles. Throws when a tile does not end where the tree says that it does. */
export async function growTiles(tx: Tx, tiles: readonly TileGrowth[]): Promise<void> {
  for (const { level, index, offset, hashes } of tiles) {
    const gained = Buffer.concat(hashes);
    const { rowCount } =
      offset === 0
        ? await tx.query("INSERT INTO tiles (level, index, hashes) VALUES ($1, $2, $3)", [level, index, gained])
        : await tx.query(
            "UPDATE tiles SET hashes = hashes || $3 WHERE level = $1 AND index = $2 AND octet_length(hashes) = $4",
            [level, index, gained, offset * 32],
          );
    if (rowCount !== 1) throw new Error(`tile ${level}/${index} does not end at ${offset}`);
  }
}

interface HeadRow {
  size: unknown;
  frontier: Uint8Array;
  checkpoint: string;
}

interface PlaceRow {
  producer: string;
  epoch: string;
  sequence: unknown;
}

function toHead({ size, frontier, checkpoint }: HeadRow): Head {
  return { frontier: splitFrontier(Number(size), new Uint8Array(frontier)), checkpoint };
}

function keyOf({ producer, epoch, sequence }: PlaceRow): string {
  return `${producer}.${epoch}.${sequence}`;
}

function columnsOf(places: readonly Place[]): [string[], string[], number[]] {
  return [
    places.map(({ producer }) => producer),
    places.map(({ epoch }) => epoch),
    places.map(({ sequence }) => sequence),
  ];
}
