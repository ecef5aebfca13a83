import { AppError, asAppError, type Clock, type Db, delay, type Logger, outOfScope } from "@sallyport/runtime";
import type { Head } from "../db/log.ts";
import { countAppend } from "../metrics.ts";
import { appendBatch, type Item, type Outcome, type Writer } from "./append-batch.ts";

/** Items that share one transaction and one signed head. */
const maxBatchItems = 256;

/**
 * A batch waits this long for more to come: a signed head for every record by itself would cost more than the request that
 * it is about. Nobody waits for it but a receipt, which is promised within 2 s.
 */
const gatherMs = 50;

/** Items that wait; more are refused, and the bus brings them again. */
const maxQueuedItems = 4_096;

export interface Appender {
  /**
   * Resolves once the item is committed under a signed head. Rejects with UNAVAILABLE when the database is away and it
   * may not be, with INTERNAL when the database refused it; submitting an event again is always safe. Items are appended
   * in the order in which they were submitted.
   */
  submit(item: Item | Promise<Item>): Promise<Outcome>;
  /** Items that have not begun. */
  readonly waiting: number;
  /** The log in the database is not the one that was signed here: nothing is appended until it is again. */
  readonly damaged: boolean;
  /** Stops taking items and resolves when those that wait are done. */
  close(): Promise<void>;
}

interface Waiting {
  readonly item: Item | Promise<Item>;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

export interface AppenderOptions {
  readonly db: Db;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after each commit. */
  readonly onHead: (head: Head) => void;
}

/** Gathers items into batches: while one transaction commits, the next batch collects. */
export function createAppender({ db, writer, clock, log, onHead }: AppenderOptions): Appender {
  const queue: Waiting[] = [];
  let running: Promise<void> | undefined;
  let signed: Head | undefined;
  let damaged = false;
  let isClosed = false;

  async function run(): Promise<void> {
    while (queue.length > 0) {
      if (queue.length < maxBatchItems && !isClosed) await delay(gatherMs);
      await settle(queue.splice(0, maxBatchItems));
    }
    running = undefined;
  }

  async function settle(batch: readonly Waiting[]): Promise<void> {
    const prepared = await Promise.allSettled(batch.map(({ item }) => item));
    const ready: { waiting: Waiting; item: Item }[] = [];
    for (const [i, result] of prepared.entries()) {
      if (result.status === "fulfilled") ready.push({ waiting: batch[i]!, item: result.value });
      else batch[i]!.reject(result.reason);
    }
    if (ready.length === 0) return;
    try {
      await append(ready);
    } catch (error) {
      // One item that the database refuses must not hold its neighbours back.
      if (ready.length === 1) return ready[0]!.waiting.reject(notCommitted(error));
      log.warn({ err: error, items: ready.length }, "a batch was not committed; its items are tried one by one");
      for (const one of ready) await append([one]).catch((cause) => one.waiting.reject(notCommitted(cause)));
    }
  }

  async function append(ready: readonly { waiting: Waiting; item: Item }[]): Promise<void> {
    const items = ready.map(({ item }) => item);
    const startedAt = performance.now();
    const { outcomes, head, twiceEnded } = await db
      .transaction((tx) => appendBatch(tx, items, writer, clock.now(), signed))
      .catch((error: unknown) => {
        damaged = asAppError(error).reason === "LOG_DAMAGED";
        throw error;
      });
    damaged = false;
    signed = head;
    countAppend(startedAt, items.length);
    for (const requestId of twiceEnded) log.error({ requestId }, "a request has two terminal records");
    onHead(head);
    for (const [i, { waiting }] of ready.entries()) waiting.resolve(outcomes[i]!);
  }

  return {
    submit(item) {
      if (isClosed) return Promise.reject(new AppError("UNAVAILABLE", "the log is closing; try again"));
      if (queue.length >= maxQueuedItems)
        return Promise.reject(new AppError("UNAVAILABLE", "the log is busy; try again"));
      const outcome = new Promise<Outcome>((resolve, reject) => queue.push({ item, resolve, reject }));
      // For all that wait, not for the one that began it.
      running ??= outOfScope(run);
      return outcome;
    },
    get waiting() {
      return queue.length;
    },
    get damaged() {
      return damaged;
    },
    async close() {
      isClosed = true;
      await running;
    },
  };
}

function notCommitted(cause: unknown): AppError {
  const { code, reason } = asAppError(cause);
  if (code === "UNAVAILABLE")
    return new AppError(code, "the record may not be committed; try again", { reason, cause });
  return new AppError("INTERNAL", "the record was not committed", { reason: "NOT_LOGGED", cause });
}
