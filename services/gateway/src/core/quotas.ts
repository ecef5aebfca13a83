/**
 * Reserves and settles what requests take of their quotas. Calls that come at the same time share one round trip and one
 * transaction (docs/design/limits.md). Fails closed: without an answer in time nothing is reserved, and nothing accepted.
 */
import type { QuotaLimit } from "@sallyport/policy";
import { AppError, type Db, delay, type Logger, outOfScope } from "@sallyport/runtime";
import { type Attempt, type Decision, quotaBatch, type Settlement } from "../db/quotas.ts";
import type { Counter, Take } from "../domain/quota.ts";
import { type QuotaReport, quotaRefusal } from "../domain/quota-report.ts";
import { countQuota } from "../metrics.ts";

export interface QuotasOptions {
  /** A pool of its own: a reservation does not wait behind the ledger. */
  readonly db: Db;
  readonly log: Logger;
  /** A caller waits no longer for an answer (2 s). */
  readonly withinMs?: number;
}

interface Waiting extends Attempt {
  /** Answered, also with an error: whatever comes of it is not wanted any more. */
  over: boolean;
  readonly resolve: (decision: Decision) => void;
  readonly reject: (error: AppError) => void;
}

const maxBatch = 256;
/** A batch costs much the same for one as for many: under load they begin no sooner after each other than this. */
const spacingMs = 3;
/** A settlement alone waits so long for company, since nobody waits for it; the next reservation takes it along. */
const settleWithinMs = 10;
/** Whoever was refused so recently is likely to be again. */
const doubtMs = 1_000;
const maxDoubted = 10_000;
/** While the database is away settlements are not kept for ever: the reconciler finds what was not settled. */
const maxSettlements = 10_000;

export class Quotas implements AsyncDisposable {
  readonly #db: Db;
  readonly #log: Logger;
  readonly #withinMs: number;
  readonly #attempts: Waiting[] = [];
  readonly #settlements: Settlement[] = [];
  /** Counters that refused, and until when they are doubted. */
  readonly #doubted = new Map<string, number>();
  /** Until then nothing was heard of the database. */
  #awayUntil = 0;
  #work: Promise<void> | undefined;
  #hurry: (() => void) | undefined;
  #reservedAt = Number.NEGATIVE_INFINITY;
  #closing = false;

  constructor({ db, log, withinMs = 2_000 }: QuotasOptions) {
    this.#db = db;
    this.#log = log;
    this.#withinMs = withinMs;
  }

  /** Throws a QuotaError when a limit is reached, UNAVAILABLE/QUOTAS_UNAVAILABLE when that cannot be found out in time. */
  async reserve(id: string, take: Take, counters: readonly Counter[]): Promise<QuotaReport> {
    const { promise, resolve, reject } = Promise.withResolvers<Decision>();
    const waiting: Waiting = { id, take, counters, over: false, resolve, reject };
    const timer = setTimeout(() => this.#giveUp(waiting), this.#withinMs);
    this.#attempts.push(waiting);
    this.#hurry?.();
    this.#wake();
    try {
      const { now, refused, counted } = await promise;
      if (refused) throw quotaRefusal(refused, now, take);
      countQuota("GRANTED");
      return { now, counted };
    } catch (error) {
      countQuota((error as AppError).reason);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether one of these refused a moment ago, or none can be counted: nothing should be done for the call before it is granted. */
  doubtful(counters: readonly Counter[]): boolean {
    const now = performance.now();
    return this.#awayUntil > now || counters.some(({ key }) => (this.#doubted.get(key) ?? 0) > now);
  }

  /**
   * A request has ended, or never began: by its row in the ledger it is charged or given back. `keep` is for what has
   * none: true charges what was reserved. May be called more than once, and before anybody hears of the end: a caller's
   * next request finds this one's place free.
   */
  settle(id: string, keep = false): void {
    if (this.#settlements.length >= maxSettlements) return;
    this.#settlements.push({ id, keep });
    this.#wake();
  }

  /** Settles what waits; nothing may be reserved any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#hurry?.();
    await this.#work;
    await this.#db.close();
  }

  #wake(): void {
    this.#work ??= outOfScope(() => this.#run());
  }

  async #run(): Promise<void> {
    // What comes in the same turn of the event loop comes along.
    await Promise.resolve();
    while (this.#settlements.length + this.#attempts.length > 0) {
      if (this.#attempts.length === 0) await this.#company();
      const restMs = this.#reservedAt + spacingMs - performance.now();
      if (restMs > 0) await delay(restMs);
      const attempts = this.#attempts.splice(0, maxBatch).filter(({ over }) => !over);
      await this.#batch(this.#settlements.splice(0, maxBatch), attempts);
    }
    this.#work = undefined;
  }

  async #company(): Promise<void> {
    if (this.#closing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, settleWithinMs);
    this.#hurry = resolve;
    await promise;
    clearTimeout(timer);
    this.#hurry = undefined;
  }

  async #batch(settlements: readonly Settlement[], attempts: readonly Waiting[]): Promise<void> {
    if (settlements.length + attempts.length === 0) return;
    if (attempts.length > 0) this.#reservedAt = performance.now();
    try {
      const decisions = await quotaBatch(this.#db, settlements, attempts);
      for (const [position, attempt] of attempts.entries()) this.#answer(attempt, decisions[position]!);
    } catch (err) {
      this.#log.warn({ err, attempts: attempts.length }, "quotas could not be counted");
      for (const attempt of attempts) {
        this.#giveUp(attempt, err);
        // It may have been stored after all.
        this.settle(attempt.id);
      }
    }
  }

  #answer(attempt: Waiting, decision: Decision): void {
    if (decision.refused) this.#doubt(attempt, decision.refused);
    if (attempt.over && !decision.refused) this.settle(attempt.id);
    attempt.over = true;
    attempt.resolve(decision);
  }

  #giveUp(attempt: Waiting, cause?: unknown): void {
    this.#awayUntil = performance.now() + doubtMs;
    attempt.over = true;
    attempt.reject(unavailable(cause));
  }

  #doubt({ counters }: Attempt, refused: QuotaLimit): void {
    if (this.#doubted.size >= maxDoubted) this.#doubted.clear();
    const until = performance.now() + doubtMs;
    for (const { key, limits } of counters) if (limits.includes(refused)) this.#doubted.set(key, until);
  }
}

function unavailable(cause?: unknown): AppError {
  const message = "limits cannot be checked right now, so nothing is accepted; try again";
  return new AppError("UNAVAILABLE", message, { reason: "QUOTAS_UNAVAILABLE", retryAfterMs: 1_000, cause });
}
