/**
 * The moves a request can make, each one grouped commit, then the news for whoever waits in this process. What a move does
 * is decided on the locked row inside the commit: what was read before may be over by then.
 */
import { create } from "@bufbuild/protobuf";
import { ControlMessageSchema, type Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import type { AuditPlaces, Bus, Clock, Committed, Logger, Outbox, Tx } from "@sallyport/runtime";
import type { Limits } from "../config.ts";
import { lockRequest, type RequestRow, requeue } from "../db/ledger.ts";
import { failureCode, outcomeMessage, type PolicyCodes } from "../domain/outcomes.ts";
import { afterLostAttempt, isAtWork } from "../domain/request-state.ts";
import { countEnded, countLostAttempt } from "../metrics.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type Ending, endRequest } from "./endings.ts";
import type { LiveRequests } from "./live.ts";
import { jobBytesOf, readJob } from "./messages.ts";
import type { Quotas } from "./quotas.ts";
import type { Runs } from "./runs.ts";

export interface MovesOptions {
  readonly outbox: Outbox;
  readonly bus: Bus;
  readonly live: LiveRequests;
  readonly runs: Runs;
  readonly quotas: Quotas;
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly gatewayId: string;
  readonly limits: Limits;
  readonly log: Logger;
  /** The words of the policy that is in force, for its codes. */
  readonly codes: () => PolicyCodes;
  /** How a request ends that is at work while it falls under a switch. */
  readonly endingAtWork: (row: RequestRow) => Told | undefined;
}

/** An ending whose message follows from its code. */
export type Told = Omit<Ending, "message">;

export interface Lost {
  readonly attempt: number;
  readonly retryable: boolean;
  /** As it was reported; only known codes are passed on. */
  readonly code: string;
  readonly stage: string;
  /** Asked of the locked row: whether it is still lost. */
  readonly still?: (row: RequestRow) => boolean;
}

interface Moved {
  readonly before: RequestRow;
  readonly after: RequestRow;
}

export class Moves {
  readonly #options: MovesOptions;

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /**
   * Ends a request as `decide` says of its row as it is now (it may be asked more than once); whoever works on it is told
   * to stop. Undefined when it had ended already, or `decide` leaves it.
   */
  async end(requestId: string, decide: (row: RequestRow) => Told | undefined): Promise<RequestRow | undefined> {
    const moved = await this.#options.outbox.commit(async (tx, places) => {
      const row = await lockRequest(tx, requestId);
      const told = row && !row.endedAt ? decide(row) : undefined;
      return row && told ? this.#endIn(tx, places, row, told) : nothing;
    });
    if (moved) this.#tell(moved);
    return moved?.after;
  }

  /** A run was lost: tried again where that is allowed, else ended as failed. */
  async lost(requestId: string, lost: Lost): Promise<void> {
    const { outbox, limits, log } = this.#options;
    const moved = await outbox.commit(async (tx, places): Promise<Committed<Moved | undefined>> => {
      const row = await lockRequest(tx, requestId);
      if (!row || row.attempt !== lost.attempt || lost.still?.(row) === false) return nothing;
      // A worker stops what is switched off: that is no lost attempt.
      const off = this.#options.endingAtWork(row);
      if (off) return this.#endIn(tx, places, row, off);
      const next = afterLostAttempt(row, lost.retryable, limits.maxAttempts);
      if (next === "ignore") return nothing;
      if (next === "fail") return this.#endIn(tx, places, row, failureOf(row, lost));
      const queued = await this.requeueIn(tx, row, readJob(row), row.deadlineAt);
      return { value: queued && { before: row, after: queued }, messages: [] };
    });
    if (!moved) return;
    this.#tell(moved);
    const { attempt, endedAt } = moved.after;
    if (endedAt) return;
    countLostAttempt(failureCode(lost.code));
    log.warn({ requestId, attempt, reason: failureCode(lost.code) }, "attempt lost, trying again");
  }

  /**
   * In a caller's transaction: back to the queue as the next attempt, as this gateway's own: the one that it came by may be
   * gone. It is sent once it is announced.
   */
  requeueIn(tx: Tx, row: RequestRow, job: Job, deadlineAt: Date): Promise<RequestRow | undefined> {
    const { gatewayId, clock } = this.#options;
    job.gatewayId = gatewayId;
    const next = { attempt: row.attempt + 1, deadlineAt, now: clock.now(), gatewayId };
    return requeue(tx, row, jobBytesOf(job), next);
  }

  /** In a caller's transaction, as `end`. */
  async endIn(tx: Tx, places: AuditPlaces, row: RequestRow, told: Told): Promise<Committed<RequestRow | undefined>> {
    const { value, ...committed } = await this.#endIn(tx, places, row, told);
    return { value: value?.after, ...committed };
  }

  announce(row: RequestRow): void {
    const { quotas, runs, dispatcher, live } = this.#options;
    countEnded(row);
    // First: a caller's next request comes after it.
    if (row.endedAt) quotas.settle(row.id);
    if (row.endedAt || row.state === "queued") runs.drop(row.id);
    if (row.endedAt) dispatcher.left(row);
    if (row.state === "queued") dispatcher.enter(row);
    live.publish(row.id, { row });
  }

  async #endIn(tx: Tx, places: AuditPlaces, row: RequestRow, told: Told): Promise<Committed<Moved | undefined>> {
    const { codes, clock } = this.#options;
    const message = outcomeMessage(told.code, codes(), told.state === "blocked" ? "BLOCKED" : "FAILED");
    const { value, ...committed } = await endRequest(tx, places, row, { ...told, message }, clock.now());
    return { value: value && { before: row, after: value }, ...committed };
  }

  #tell({ before, after }: Moved): void {
    // Of what was never sent no worker needs to hear.
    const unsent = this.#options.dispatcher.waits(after);
    this.announce(after);
    if (!after.endedAt || after.state === "released" || !isAtWork(before) || unsent) return;
    const { bus } = this.#options;
    const stop = create(ControlMessageSchema, { requestId: after.id, code: after.code || after.state.toUpperCase() });
    bus.signal(subjects.control(after.id), ControlMessageSchema, stop);
  }
}

function failureOf(row: RequestRow, { retryable, code, stage }: Lost): Told {
  const cause = failureCode(code);
  const spent = retryable && row.windowsReleased === 0 && row.state !== "held";
  const detail = { cause, windowsReleased: row.windowsReleased };
  return { state: "failed", code: spent ? "ATTEMPTS_EXHAUSTED" : cause, stage, detail };
}

const nothing: Committed<undefined> = { value: undefined, messages: [] };
