/**
 * Brings outbox rows to the bus. Fresh rows go out right after their commit, in commit order, many in flight. Whatever is
 * not acknowledged or confirmed in time is found by a poll, whichever process wrote it, and sent again with the same id:
 * so a lost signal, a dead process or a wiped bus costs time only. Duplicates are the consumers' to ignore.
 */
import { randomUUID } from "node:crypto";
import { ConfirmMessageSchema, type MissingRange } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ServiceName, subjects } from "@sallyport/proto/subjects";
import type { Bus } from "../bus/index.ts";
import { delay } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { outOfScope } from "../telemetry/scope.ts";
import type { Db } from "./database.ts";
import type { OutboxRow } from "./outbox-messages.ts";

export interface RelayOptions {
  db: Db;
  bus: Bus;
  producer: ServiceName;
  log: Logger;
}

const maxInFlight = 256;
/** Above this, fresh rows are left to the poll. */
const maxQueued = 5_000;
const pollEveryMs = 1_000;
const pollRows = 500;
/** Rows that are done with cost little while they lie there; deleting them a few at a time costs a request as much as its own. */
const forgetEveryMs = 200;
const forgetRows = 1_000;
/** For what is on its way when the service stops; the rest is the next start's. */
const drainMs = 1_000;
const maxMissing = 1_000;
/** Confirmed ids kept while the database is away. */
const maxRemembered = 100_000;
/** Doubling from 5 s (the row's first due time) to 60 s. */
const retryBaseMs = 5_000;
const retryMaxMs = 60_000;

/** Not flushed by itself: a deletion that a crash undoes is a row sent once more, and known to whoever reads it. */
const loose = { opening: "SET LOCAL synchronous_commit = off" };

type Claimed = OutboxRow & { attempts: number };

export class Relay implements AsyncDisposable {
  readonly #options: RelayOptions;
  readonly #queue: { row: OutboxRow; msgId: string }[] = [];
  /** Ids queued or in flight here: not to be queued again. */
  readonly #busy = new Set<string>();
  readonly #done = new Set<string>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stops: (() => void)[] = [];
  #inFlight = 0;
  #polling: Promise<void> | undefined;
  #forgetting: Promise<void> | undefined;
  #closed = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  start(): void {
    const { bus, producer } = this.#options;
    const stop = bus.onSignal(subjects.confirm(producer), ConfirmMessageSchema, async ({ messageIds, missing }) => {
      for (const id of messageIds) this.#done.add(id);
      for (const range of missing) await this.#resend(range);
    });
    this.#stops.push(
      stop,
      bus.onReconnect(() => void this.#redue()),
    );
    this.#timers.push(setInterval(() => void this.#poll(), pollEveryMs));
    this.#timers.push(setInterval(() => void this.#forget(), forgetEveryMs));
    void this.#redue();
  }

  /** Rows of a stored group, in commit order. */
  publish(rows: readonly OutboxRow[]): void {
    for (const row of rows) if (this.#queue.length < maxQueued) this.#enqueue(row, row.msgId);
    outOfScope(() => this.#pump());
  }

  #enqueue(row: OutboxRow, msgId: string): void {
    if (this.#closed || this.#busy.has(row.msgId)) return;
    this.#busy.add(row.msgId);
    this.#queue.push({ row, msgId });
  }

  #pump(): void {
    // While the bus is away rows wait in the table; the poll takes them up again.
    if (!this.#options.bus.connected) for (const { row } of this.#queue.splice(0)) this.#busy.delete(row.msgId);
    while (this.#inFlight < maxInFlight && this.#queue.length > 0) {
      const { row, msgId } = this.#queue.shift()!;
      this.#inFlight += 1;
      void this.#send(row, msgId).finally(() => {
        this.#inFlight -= 1;
        this.#busy.delete(row.msgId);
        this.#pump();
      });
    }
  }

  async #send(row: OutboxRow, msgId: string): Promise<void> {
    const { stream, subject, type, payload, traceparent } = row;
    try {
      await this.#options.bus.publishBytes(stream, subject, type, payload, { msgId, id: row.msgId, traceparent });
      if (!row.confirm) this.#done.add(row.msgId);
    } catch (err) {
      this.#options.log.warn({ err, stream, msgId }, "could not publish; it stays in the outbox");
    }
  }

  #poll(): Promise<void> {
    this.#polling ??= this.#pollOnce().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  /** Goes on as long as there is much to send and room for it, so that a long outage is made up for quickly. */
  async #pollOnce(): Promise<void> {
    await this.#quietly("poll the outbox", async () => {
      for (let found = pollRows; found === pollRows; ) {
        const hasRoom = this.#queue.length <= maxQueued - pollRows;
        if (this.#closed || !this.#options.bus.connected || !hasRoom) return;
        const rows = await this.#claimDue();
        for (const row of rows) this.#enqueue(row, wireId(row));
        this.#pump();
        found = rows.length;
      }
    });
  }

  async #claimDue(): Promise<Claimed[]> {
    const sql = `WITH due AS (
        SELECT id FROM outbox WHERE due_at <= now() ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
      ), claimed AS (
        UPDATE outbox SET attempts = attempts + 1,
          due_at = now() + least($2 * 2 ^ least(attempts, 10), $3) * interval '1 millisecond'
        FROM due WHERE outbox.id = due.id RETURNING outbox.*
      ) SELECT ${rowColumns} FROM claimed ORDER BY id`;
    const { rows } = await this.#options.db.transaction((tx) =>
      tx.query<Claimed>(sql, [pollRows, retryBaseMs, retryMaxMs]),
    );
    return rows;
  }

  async #resend({ epoch, first, last }: MissingRange): Promise<void> {
    if (!/^[0-9a-f-]{36}$/.test(epoch)) return;
    await this.#quietly("send missing messages again", async () => {
      const sql = `SELECT ${rowColumns} FROM outbox WHERE epoch = $1 AND sequence BETWEEN $2 AND $3 ORDER BY sequence LIMIT $4`;
      const { rows } = await this.#options.db.query<Claimed>(sql, [epoch, first, last, maxMissing]);
      // The consumer says that it never came, so the stream's memory of its id is worth nothing.
      for (const row of rows) this.#enqueue(row, `${row.msgId}~${randomUUID()}`);
      this.#pump();
    });
  }

  /** At start and after the bus was away: everything that is still here is due. */
  async #redue(): Promise<void> {
    await this.#quietly("wake the outbox", async () => {
      await this.#options.db.query("UPDATE outbox SET due_at = now(), attempts = 1 WHERE due_at > now()");
    });
  }

  #forget(): Promise<void> {
    this.#forgetting ??= this.#forgetOnce().finally(() => {
      this.#forgetting = undefined;
    });
    return this.#forgetting;
  }

  async #forgetOnce(): Promise<void> {
    while (this.#done.size > 0) {
      const ids = [...this.#done].slice(0, forgetRows);
      for (const id of ids) this.#done.delete(id);
      const gone = await this.#quietly("delete sent messages", async () => {
        await this.#options.db.transaction(async (tx) => {
          tx.send("DELETE FROM outbox WHERE msg_id = ANY($1)", [ids]);
        }, loose);
      });
      if (gone) continue;
      // Beyond the bound they are sent again, confirmed again, and deleted then.
      if (this.#done.size < maxRemembered) for (const id of ids) this.#done.add(id);
      return;
    }
  }

  async #quietly(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (err) {
      this.#options.log.warn({ err }, `could not ${what}; trying again later`);
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const stop of this.#stops) stop();
    this.#queue.length = 0;
    await this.#polling;
    const endsAt = performance.now() + drainMs;
    while (this.#inFlight > 0 && performance.now() < endsAt) await delay(10);
    await this.#forgetting;
    await this.#forget();
  }
}

const rowColumns = `msg_id AS "msgId", sequence, stream, subject, type, payload, traceparent, confirm, attempts`;

/**
 * A stream remembers ids for minutes and drops a repeated one. That is right while the first copy is on its way; but when
 * the consumer had it and its confirmation was lost, nothing would ever ask for it again. So after half a minute, and then
 * every ten minutes, the id gets a new suffix. `ce-id` stays the same, and the consumer's own key tells it is known.
 */
function wireId({ msgId, attempts }: Claimed): string {
  const generation = attempts < 4 ? 0 : 1 + Math.floor((attempts - 4) / 10);
  return generation === 0 ? msgId : `${msgId}~${generation}`;
}
