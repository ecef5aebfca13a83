/**
 * Sends this gateway's queued requests to the bus, each in its turn. The ledger is the queue; JOBS is only a short way to the
 * workers, so that whoever comes next is before a flood and not behind it (docs/design/limits.md). What was not sent, or was
 * lost on the bus, is found in the ledger and sent again under the same id: a row needs no outbox to be sent.
 */
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import { type Bus, type Clock, currentTrace, type Db, type Logger, outOfScope, periodically } from "@sallyport/runtime";
import type { Limits } from "../config.ts";
import { listAtWork } from "../db/at-work.ts";
import { findQueued, type RequestRow } from "../db/ledger.ts";
import { jobOf } from "./messages.ts";
import type { Runs } from "./runs.ts";
import { type Place, type Stage, stages, type Turn, Turns } from "./turns.ts";

export interface DispatcherOptions {
  readonly bus: Pick<Bus, "publish">;
  readonly db: Db;
  readonly runs: Pick<Runs, "queuedRow">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<Limits, "jobsAhead" | "redispatchMs">;
  readonly gatewayId: string;
}

const everyMs = 1_000;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #turns: Turns;
  #closed = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#turns = new Turns({ least: options.limits.jobsAhead, now: () => options.clock.now() });
  }

  /** A row that was queued just now. Another gateway's is that one's to send: door 2 tells it what comes of it. */
  enter(row: RequestRow): void {
    if (row.gatewayId !== this.#options.gatewayId) return;
    this.#turns.enter({ ...row, since: row.queuedAt! });
    this.#sendNext(row.model, row);
  }

  /** A worker is at it. */
  begun(place: Place): void {
    this.#turns.begun(place);
    this.#sendNext(place.model);
  }

  left(place: Place): void {
    this.#turns.left(place);
    this.#sendNext(place.model);
  }

  /** How many of this gateway's requests are at each stage, by model. */
  counts(): { model: string; stage: Stage; count: number }[] {
    const { models } = this.#turns;
    return models.flatMap((model) => stages.map((stage) => ({ model, stage, count: this.#turns.count(model, stage) })));
  }

  /** From now on also what it was not told of. */
  start(): AsyncDisposable {
    const { log, db, clock, limits, gatewayId } = this.#options;
    const rounds = periodically(log, everyMs, "look at the queue", async () => {
      const askedAt = clock.now();
      this.#turns.correct(await listAtWork(db, gatewayId), askedAt);
      for (const turn of this.#turns.overdue(limits.redispatchMs)) void this.#send(turn);
      for (const model of this.#turns.models) this.#sendNext(model);
    });
    return {
      [Symbol.asyncDispose]: async () => {
        this.#closed = true;
        await rounds[Symbol.asyncDispose]();
      },
    };
  }

  #sendNext(model: string, fresh?: RequestRow): void {
    if (this.#closed) return;
    for (const turn of this.#turns.next(model)) {
      if (turn.id === fresh?.id) void this.#send(turn, fresh);
      // Its turn came because of another request.
      else outOfScope(() => void this.#send(turn));
    }
  }

  /** At once where its row is at hand, so that nobody overtakes it here. */
  async #send(turn: Turn, fresh?: RequestRow): Promise<void> {
    const { bus, db, runs, log } = this.#options;
    try {
      const row = fresh ?? runs.queuedRow(turn.id, turn.attempt) ?? (await findQueued(db, turn.id));
      if (!row) return this.left(turn);
      const msgId = `${row.id}.${row.attempt}`;
      // Within its trace, what is being done is nearer to the job than its call.
      const traceparent = currentTrace()?.traceId === row.traceId ? undefined : row.traceparent;
      const subject = subjects.job(row.model, row.id);
      await bus.publish("JOBS", subject, JobSchema, jobOf(row), { msgId, traceparent });
    } catch (err) {
      log.warn({ err, requestId: turn.id }, "a job could not be sent yet");
      this.#turns.back(turn);
    }
  }
}
