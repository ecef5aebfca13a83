/**
 * Many operations, one COMMIT. Operations wait in a bounded queue; one transaction at a time runs all that wait, in order.
 *
 * A connection lost at COMMIT leaves it open whether the group was stored. Each group therefore moves this process's
 * row in outbox_epochs from group n - 1 to n first. The next try does the same: it waits for the row's lock until the lost
 * transaction has ended, and finds n (stored: its results stand, what ran again is undone) or n - 1 (not stored, and never
 * will be: run again).
 * pg_xact_status was not taken for this: after a crash a transaction id whose record was not flushed may be used again.
 */
import type { ServiceName } from "@sallyport/proto/subjects";
import { backoff, type Clock, delay, type Ids } from "../clock.ts";
import { AppError } from "../errors.ts";
import { currentScope, outOfScope, runInScope, type Scope } from "../telemetry/scope.ts";
import { withSpan } from "../telemetry/spans.ts";
import { formatTraceparent } from "../trace.ts";
import type { Db, Tx } from "./database.ts";
import { commitUnknown, hasReason, unavailable } from "./failures.ts";
import { countCommit, countGroup } from "./metrics.ts";
import { type CommitLimits, type CommitOptions, commitLimits, type Operation } from "./operation.ts";
import { type OutboxRow, Places, sendRows, toRows } from "./outbox-messages.ts";

export interface GroupCommitterOptions {
  db: Db;
  producer: ServiceName;
  ids: Ids;
  clock: Clock;
  /** Called in commit order with the rows of each stored group. */
  onCommitted(rows: readonly OutboxRow[]): void;
  limits?: Partial<CommitLimits>;
}

interface Waiting {
  run: Operation<unknown>;
  pipelined: boolean;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  endsAt: number;
  /** When it came (performance.now). */
  since: number;
  /** What it belongs to. */
  scope: Scope | undefined;
}

interface GroupResult {
  values: unknown[];
  rows: OutboxRow[];
  /** Audit places used. */
  used: number;
}

export class GroupCommitter {
  readonly #options: GroupCommitterOptions;
  readonly #limits: CommitLimits;
  readonly #queue: Waiting[] = [];
  #working = false;
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  #epoch: string;
  #epochStored = false;
  #groups = 0;
  #sequence = 0;
  /** What the transaction that was tried last would have stored. */
  #lastRun: GroupResult | undefined;

  constructor(options: GroupCommitterOptions) {
    this.#options = options;
    this.#limits = { ...commitLimits, ...options.limits };
    this.#epoch = options.ids.uuid();
  }

  get epoch(): string {
    return this.#epoch;
  }

  get depth(): number {
    return this.#queue.length;
  }

  async commit<T>(run: Operation<T>, { pipelined = false }: CommitOptions = {}): Promise<T> {
    if (this.#closed) throw new AppError("UNAVAILABLE", "the service is stopping; try again", { reason: "STOPPING" });
    if (this.#queue.length >= this.#limits.queue) {
      throw new AppError("RESOURCE_EXHAUSTED", "too many changes are waiting; try again", { reason: "OUTBOX_FULL" });
    }
    if (currentScope() === undefined) return await this.#enqueue(run, pipelined);
    return await withSpan("commit", {}, () => this.#enqueue(run, pipelined));
  }

  #enqueue<T>(run: Operation<T>, pipelined: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const since = performance.now();
      const scope = currentScope();
      const endsAt = since + this.#limits.withinMs;
      const settle = { resolve: resolve as (value: unknown) => void, reject };
      this.#queue.push({ run, pipelined, ...settle, endsAt, since, scope });
      if (!this.#working) this.#work = outOfScope(() => this.#run());
    });
  }

  /** Takes no more, and finishes what waits. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#work;
  }

  async #run(): Promise<void> {
    this.#working = true;
    // The operations that were made in the same turn of the event loop come along.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#settle(this.#queue.splice(0, this.#limits.group));
    this.#working = false;
  }

  /** Resolves or rejects every operation of the batch; never throws. */
  async #settle(batch: readonly Waiting[]): Promise<void> {
    try {
      const { values, rows } = await this.#store(batch);
      countGroup(batch.length);
      for (const [position, waiting] of batch.entries()) {
        countCommit(waiting.since);
        waiting.resolve(values[position]);
      }
      if (rows.length > 0) this.#options.onCommitted(rows);
    } catch (error) {
      const everyone = batch.length === 1 || isDatabaseFault(error);
      if (everyone) for (const waiting of batch) waiting.reject(error);
      // Only the faulty one shall fail: each runs again alone.
      else for (const waiting of batch) await this.#settle([waiting]);
    }
  }

  async #store(batch: readonly Waiting[]): Promise<GroupResult> {
    const endsAt = Math.min(...batch.map((waiting) => waiting.endsAt));
    let perhaps: GroupResult | undefined;
    this.#lastRun = undefined;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#ensureEpoch();
        const result = await this.#runGroup(batch, perhaps, endsAt);
        this.#groups += 1;
        this.#sequence += result.used;
        return result;
      } catch (error) {
        // Whatever was stored under this epoch, it was not by this account of it: nothing may go on with that.
        if (error instanceof StoredBefore) this.#beginEpoch();
        else if (!isDatabaseFault(error)) throw perhaps === undefined ? error : this.#giveUp(error, true);
        if (hasReason(error, "COMMIT_UNKNOWN")) perhaps = this.#lastRun ?? perhaps;
        const waitMs = backoff(attempt, { baseMs: 100, maxMs: 1_000 });
        if (performance.now() + waitMs > endsAt) throw this.#giveUp(error, perhaps !== undefined);
        await delay(waitMs);
      }
    }
  }

  async #runGroup(batch: readonly Waiting[], perhaps: GroupResult | undefined, endsAt: number): Promise<GroupResult> {
    const group = this.#groups + 1;
    const withinMs = Math.max(0, endsAt - performance.now());
    const run = async (tx: Tx, claimed: Promise<number>) => {
      this.#lastRun = undefined;
      // Sent without waiting for the claim, and undone where that shows that the group is stored already.
      const ran = this.#runOperations(tx, batch);
      ran.catch(() => undefined);
      if ((await claimed) !== 1) throw new StoredBefore();
      this.#lastRun = await ran;
      return this.#lastRun;
    };
    const options = { withinMs, attempts: 100, opening: claimOf(this.#epoch, group) };
    return await this.#options.db.transaction(run, options).catch((error: unknown) => {
      if (error instanceof StoredBefore && perhaps) return perhaps;
      throw error;
    });
  }

  async #runOperations(tx: Tx, batch: readonly Waiting[]): Promise<GroupResult> {
    const { producer, clock } = this.#options;
    const time = clock.now().toISOString();
    const result: GroupResult = { values: [], rows: [], used: 0 };
    for (const block of blocksOf(batch)) {
      const places = new Places(producer, this.#epoch, this.#sequence + result.used + 1, time);
      const committed = await Promise.all(block.map(({ run, scope }) => runInScope(scope, () => run(tx, places))));
      for (const [position, { value, messages }] of committed.entries()) {
        const { scope } = block[position]!;
        const traceparent = scope ? formatTraceparent(scope.trace) : "";
        const first = this.#sequence + result.used + 1;
        // Throws where a neighbour of the block left a place unused: then each runs alone.
        const rows = toRows(messages, { producer, epoch: this.#epoch, first, time, traceparent });
        result.values.push(value);
        result.rows.push(...rows);
        result.used += rows.filter(({ sequence }) => sequence !== null).length;
      }
    }
    sendRows(tx, this.#epoch, result.rows, this.#limits.confirmWithinMs);
    return result;
  }

  async #ensureEpoch(): Promise<void> {
    if (this.#epochStored) return;
    const sql = "INSERT INTO outbox_epochs (epoch) VALUES ($1) ON CONFLICT DO NOTHING";
    await this.#options.db.query(sql, [this.#epoch]);
    this.#epochStored = true;
  }

  /** Where the outcome stays open, the epoch ends with it: whichever way it went, no sequence is skipped or used twice. */
  #giveUp(error: unknown, unknown: boolean): unknown {
    if (!unknown) return unavailable(error);
    this.#beginEpoch();
    return commitUnknown(error);
  }

  #beginEpoch(): void {
    this.#epoch = this.#options.ids.uuid();
    this.#epochStored = false;
    this.#groups = 0;
    this.#sequence = 0;
  }
}

/** Written out, not bound: it goes with BEGIN. An epoch is a UUID of ours. */
function claimOf(epoch: string, group: number): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(epoch)) throw new AppError("INTERNAL", "an epoch is a UUID");
  return `UPDATE outbox_epochs SET committed = ${group} WHERE epoch = '${epoch}' AND committed = ${group - 1}`;
}

/** The claim found that this group was stored by a try whose outcome was open. */
class StoredBefore extends AppError {
  constructor() {
    super("INTERNAL", "another process writes under this process's epoch", { reason: "EPOCH_TAKEN" });
  }
}

/** Neighbours that need not wait for each other, in order. */
function blocksOf(batch: readonly Waiting[]): Waiting[][] {
  const blocks: Waiting[][] = [];
  for (const waiting of batch) {
    const last = blocks.at(-1);
    if (waiting.pipelined && last?.[0]?.pipelined) last.push(waiting);
    else blocks.push([waiting]);
  }
  return blocks;
}

function isDatabaseFault(error: unknown): boolean {
  return hasReason(error, "DATABASE_UNAVAILABLE") || hasReason(error, "COMMIT_UNKNOWN");
}
