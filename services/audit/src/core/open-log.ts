import { AppError, type Clock, type Db } from "@sallyport/runtime";
import {
  emptyRoot,
  frontierAt,
  hashesEqual,
  openCheckpoint,
  rootOf,
  signatureType,
  verifierKeyOf,
} from "@sallyport/tlog";
import { type Head, readHead } from "../db/log.ts";
import { createLog, type Writer } from "./append-batch.ts";
import type { Appender } from "./appender.ts";
import { withTiles } from "./proofs.ts";

export interface OpenLogOptions {
  readonly db: Db;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly appender: Appender;
}

/**
 * Makes the log if there is none, and otherwise checks that head, tiles and our signature still agree before anything
 * is appended: a log that was tampered with must not be signed on. Then records the start itself.
 */
export async function openLog({ db, writer, clock, appender }: OpenLogOptions): Promise<void> {
  await db.transaction((tx) => createLog(tx, writer.signer, clock.now()));
  const head = await readHead(db);
  if (head === undefined) throw new Error("the log was not made");
  await checkHead(db, head, writer);
  const detail = { origin: writer.signer.name, size: head.frontier.size };
  await appender.submit({ kind: "own", facts: { event: "log.started", detail } });
}

async function checkHead(db: Db, { frontier, checkpoint }: Head, { signer }: Writer): Promise<void> {
  const { size } = frontier;
  try {
    const keys = [verifierKeyOf(signer, signatureType.ed25519)];
    const signed = openCheckpoint(checkpoint, { origin: signer.name, keys });
    const stored = await withTiles(db, size, (read) => (size === 0 ? emptyRoot : rootOf(frontierAt(size, read))));
    const agrees = signed.size === size && hashesEqual(signed.root, stored) && hashesEqual(rootOf(frontier), stored);
    if (!agrees) throw new Error("head, tiles and checkpoint differ");
    await checkCount(db, size);
  } catch (cause) {
    if (cause instanceof AppError && cause.code === "UNAVAILABLE") throw cause;
    const message = "the log in the database does not verify; it is not written to until an operator has looked";
    throw new AppError("FAILED_PRECONDITION", message, { reason: "LOG_DAMAGED", cause });
  }
}

async function checkCount(db: Db, size: number): Promise<void> {
  const { rows } = await db.query<{ next: unknown }>("SELECT coalesce(max(index) + 1, 0) AS next FROM records");
  if (Number(rows[0]?.next) !== size) throw new Error("the number of records is not the head's");
}
