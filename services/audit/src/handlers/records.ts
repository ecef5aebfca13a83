/** AuditService: what the log says, to callers who may read it. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  GetConsistencyProofRequest,
  GetRecordRequest,
  RecordSchema,
  TailRecordsRequest,
} from "@sallyport/proto/sallyport/audit/v1/audit";
import { AppError, type Db } from "@sallyport/runtime";
import type { Heads } from "../core/heads.ts";
import { proveConsistency, proveInclusion } from "../core/proofs.ts";
import {
  indexOfLast,
  newestRecord,
  recordAt,
  recordByLeaf,
  recordPage,
  type StoredRecord,
  terminalRecord,
} from "../db/read.ts";

const pageRecords = 100;
const maxEventTypes = 50;
const idForm = /^[A-Za-z0-9_-]{1,64}$/;
const hashForm = /^[0-9a-f]{64}$/;

export interface ReadContext {
  readonly db: Db;
  readonly heads: Heads;
}

/** `tenant`: the only one whose records the caller may read; undefined: all. What is another's is not there. */
export async function getRecord({ db, heads }: ReadContext, { key }: GetRecordRequest, tenant: string | undefined) {
  const found = await findRecord(db, key);
  const record = tenant === undefined || found?.tenant === tenant ? found : undefined;
  // The head is read after the record, so it covers it.
  const head = await heads.read();
  if (record === undefined)
    throw new AppError("NOT_FOUND", "the log has no such record", { reason: "RECORD_NOT_FOUND" });
  return { record: view(record), proof: await proveInclusion(db, head, record) };
}

/** For the gateway: NOT_FOUND until the terminal record is in the log. */
export async function getReceipt({ db, heads }: ReadContext, requestId: string) {
  const record = idForm.test(requestId) ? await terminalRecord(db, requestId) : undefined;
  const head = await heads.read();
  if (record === undefined) throw new AppError("NOT_FOUND", "no receipt yet; try again", { reason: "RECEIPT_PENDING" });
  return { record: record.json, proof: await proveInclusion(db, head, record) };
}

export async function getCheckpoint({ heads }: ReadContext) {
  return { checkpoint: (await heads.read()).checkpoint };
}

export async function getConsistencyProof({ db, heads }: ReadContext, request: GetConsistencyProofRequest) {
  const { frontier } = await heads.read();
  const [first, second] = [toNumber(request.oldSize), toNumber(request.newSize)];
  if (first > second) throw invalid("old_size is larger than new_size");
  if (second > frontier.size)
    throw new AppError("NOT_FOUND", "the log is smaller than that", { reason: "SIZE_NOT_REACHED" });
  return { hashes: await proveConsistency(db, first, second) };
}

/**
 * `tenant` as for getRecord. `recheck` is called now and then on a long stream, so that a token that has run out ends it.
 */
export async function* tailRecords(
  { db, heads }: ReadContext,
  request: TailRecordsRequest,
  tenant: string | undefined,
  signal: AbortSignal,
  recheck: () => Promise<void>,
) {
  const { eventTypes: events, follow, last } = request;
  if (events.length > maxEventTypes) throw invalid("too many event types");
  let head = await heads.read();
  const selection = { events, tenant };
  let next = last > 0 ? await indexOfLast(db, head.frontier.size, last, selection) : toNumber(request.fromIndex);
  for (;;) {
    const end = head.frontier.size;
    while (next < end) {
      signal.throwIfAborted();
      const page = await recordPage(db, { ...selection, from: next, end, limit: pageRecords });
      for (const record of page) yield { record: view(record) };
      next = page.length === pageRecords ? page.at(-1)!.index + 1 : end;
      await recheck();
    }
    if (!follow) return;
    head = await heads.beyond(Math.max(next, end), signal);
    await recheck();
  }
}

function findRecord(db: Db, key: GetRecordRequest["key"]): Promise<StoredRecord | undefined> {
  switch (key.case) {
    case "index":
      return recordAt(db, toNumber(key.value));
    case "leafHash":
      if (!hashForm.test(key.value)) throw invalid("leaf_hash is 64 lower-case hex digits");
      return recordByLeaf(db, Buffer.from(key.value, "hex"));
    case "requestId":
      if (!idForm.test(key.value)) throw invalid("request_id is not an id");
      return terminalRecord(db, key.value).then((record) => record ?? newestRecord(db, key.value));
    default:
      throw invalid("index, leaf_hash or request_id is needed");
  }
}

function view({ index, json, leaf }: StoredRecord): MessageInitShape<typeof RecordSchema> {
  return { index: BigInt(index), json, leafHash: Buffer.from(leaf).toString("hex") };
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid("the number is too large for any log");
  return Number(value);
}

function invalid(message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message);
}
