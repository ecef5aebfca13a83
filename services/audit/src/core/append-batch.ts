import { createHash } from "node:crypto";
import { AppError, type Tx } from "@sallyport/runtime";
import { emptyFrontier, type Frontier, hashesEqual, type NoteSigner, rootOf, signCheckpoint } from "@sallyport/tlog";
import { countArrivals } from "../db/arrivals.ts";
import {
  createHead,
  findRejection,
  findTaken,
  findTwiceEnded,
  growTiles,
  type Head,
  insertRecords,
  insertRejection,
  lastSequence,
  lockHead,
  type Rejection,
  saveHead,
} from "../db/log.ts";
import { insertVault, type WrappedKey } from "../db/vault.ts";
import { type LogEvent, messageIdOf, type Place } from "../domain/event.ts";
import { growTree } from "../domain/growth.ts";
import { buildOwnEvent, type OwnFacts } from "../events.ts";

/** What asks for a place in the log. */
export type Item =
  | { readonly kind: "event"; readonly event: LogEvent; readonly key: WrappedKey | undefined }
  /** `bytes`: what came in place of a record. */
  | { readonly kind: "poison"; readonly place: Place; readonly reason: string; readonly bytes: Uint8Array }
  | { readonly kind: "own"; readonly facts: OwnFacts };

/** `rejected`: the place is taken account of, by a record that says why nothing else is there. */
export interface Outcome {
  readonly status: "logged" | "duplicate" | "rejected";
  readonly index: number;
  readonly reason?: string;
}

/** Who writes: the key of the log, and the epoch under which this process numbers its own records. */
export interface Writer {
  readonly signer: NoteSigner;
  readonly epoch: string;
}

/** Makes an empty log with a signed head, once. */
export async function createLog(tx: Tx, signer: NoteSigner, now: Date): Promise<void> {
  await createHead(tx, { frontier: emptyFrontier, checkpoint: signHead(emptyFrontier, signer) }, now);
}

/**
 * Appends what is new among `items`, in their order, with tiles, vault and signed head: all of it or, when this
 * throws, nothing. The caller commits. `twiceEnded`: requests that now have a second terminal record, which somebody
 * must look into; the log keeps both, as it keeps everything. `signed`: the head that this process signed last.
 */
export async function appendBatch(tx: Tx, items: readonly Item[], writer: Writer, now: Date, signed?: Head) {
  const head = await lockHead(tx);
  if (head === undefined) throw new Error("the log was not made");
  if (signed !== undefined) refuseFork(head, signed);
  const batch = await openBatch(tx, head, items, writer, now);
  const outcomes: Outcome[] = [];
  for (const item of items) outcomes.push(await place(tx, batch, item));
  if (batch.fresh.length === 0) return { outcomes, head, twiceEnded: [] };
  const written = await write(tx, head, batch, writer.signer);
  return { outcomes, head: written, twiceEnded: await findTwiceEnded(tx, endedIn(batch)) };
}

/** Whoever may write the database may put an old head back: signing on from there would make two logs of one. */
function refuseFork({ frontier: stored }: Head, { frontier: signed }: Head): void {
  if (stored.size > signed.size) return;
  if (stored.size === signed.size && hashesEqual(rootOf(stored), rootOf(signed))) return;
  const message =
    "the log in the database is not the one that was signed; it is not written to until an operator has looked";
  throw new AppError("UNAVAILABLE", message, { reason: "LOG_DAMAGED" });
}

function endedIn({ fresh }: Batch): string[] {
  return fresh.flatMap(({ event: { terminal, requestId } }) =>
    terminal && requestId !== undefined ? [requestId] : [],
  );
}

interface Batch {
  readonly now: Date;
  readonly first: number;
  readonly taken: Map<string, { index: number; leaf: Uint8Array }>;
  readonly fresh: { event: LogEvent; key: WrappedKey | undefined }[];
  readonly rejections: Rejection[];
  readonly ownEpoch: string;
  ownSequence: number;
}

async function openBatch(tx: Tx, head: Head, items: readonly Item[], writer: Writer, now: Date): Promise<Batch> {
  const places = items.flatMap((item) => (item.kind === "event" ? [item.event.place] : []));
  const [taken, ownSequence] = await Promise.all([findTaken(tx, places), lastSequence(tx, "audit", writer.epoch)]);
  const first = head.frontier.size;
  return { now, first, taken, fresh: [], rejections: [], ownEpoch: writer.epoch, ownSequence };
}

function place(tx: Tx, batch: Batch, item: Item): Promise<Outcome> | Outcome {
  if (item.kind === "own") return { status: "logged", index: addOwn(batch, item.facts) };
  if (item.kind === "poison") return reject(tx, batch, item.place, item.reason, item.bytes);
  const { event } = item;
  const taken = batch.taken.get(messageIdOf(event.place));
  if (taken === undefined) return { status: "logged", index: addFresh(batch, event, item.key) };
  if (Buffer.compare(taken.leaf, event.leaf) === 0) return { status: "duplicate", index: taken.index };
  return reject(tx, batch, event.place, "PLACE_TAKEN", event.record);
}

function addFresh(batch: Batch, event: LogEvent, key: WrappedKey | undefined): number {
  const index = batch.first + batch.fresh.length;
  batch.fresh.push({ event, key });
  batch.taken.set(messageIdOf(event.place), { index, leaf: event.leaf });
  return index;
}

function addOwn(batch: Batch, facts: OwnFacts): number {
  batch.ownSequence += 1;
  const place: Place = { producer: "audit", epoch: batch.ownEpoch, sequence: batch.ownSequence };
  return addFresh(batch, buildOwnEvent(facts, place, batch.now), undefined);
}

async function reject(tx: Tx, batch: Batch, place: Place, reason: string, bytes: Uint8Array): Promise<Outcome> {
  const digest = createHash("sha256").update(bytes).digest();
  const inBatch = batch.rejections.find(
    (other) => messageIdOf(other.place) === messageIdOf(place) && digest.equals(other.digest),
  );
  const known = inBatch?.index ?? (await findRejection(tx, place, digest));
  if (known !== undefined) return { status: "rejected", index: known, reason };
  const { producer, epoch, sequence } = place;
  const detail = { producer, epoch, sequence, reason, digest: digest.toString("hex") };
  const index = addOwn(batch, { event: "log.rejected", detail });
  batch.rejections.push({ place, digest, bytes, index });
  return { status: "rejected", index, reason };
}

async function write(tx: Tx, head: Head, batch: Batch, signer: NoteSigner): Promise<Head> {
  const { now, first, fresh, rejections } = batch;
  const events = fresh.map(({ event }) => event);
  const grown = growTree(
    head.frontier,
    events.map(({ leaf }) => leaf),
  );
  await insertRecords(tx, first, events, now);
  await growTiles(tx, grown.tiles);
  for (const rejection of rejections) insertRejection(tx, rejection);
  const vault = fresh.flatMap(({ event: { requestId, bodies }, key }, i) =>
    requestId === undefined ? [] : [{ requestId, recordIndex: first + i, bodies, key }],
  );
  insertVault(tx, vault, now);
  const arrived = [...events, ...rejections].map(({ place }) => place);
  // Its own records never travel, so none can be missing.
  countArrivals(
    tx,
    arrived.filter(({ producer }) => producer !== "audit"),
    now,
  );
  const signed = { frontier: grown.head, checkpoint: signHead(grown.head, signer) };
  saveHead(tx, signed, now);
  return signed;
}

function signHead(frontier: Frontier, signer: NoteSigner): string {
  return signCheckpoint({ origin: signer.name, size: frontier.size, root: rootOf(frontier), extensions: [] }, signer);
}
