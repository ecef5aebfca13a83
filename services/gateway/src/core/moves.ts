/** The moves a request can make, each one grouped commit, then the news for whoever waits in this process. */
import { create } from "@bufbuild/protobuf";
import { ControlMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import type { Bus, Clock, Committed, Logger, Outbox, Tx } from "@sallyport/runtime";
import type { Limits } from "../config.ts";
import { type RequestRow, requeue } from "../db/ledger.ts";
import { outcomeMessage, type PolicyCodes } from "../domain/outcomes.ts";
import { afterLostAttempt } from "../domain/request-state.ts";
import { type Ending, endRequest } from "./endings.ts";
import type { LiveRequests } from "./live.ts";
import { jobMessage } from "./messages.ts";
import type { Runs } from "./runs.ts";

export interface MovesOptions {
  readonly outbox: Outbox;
  readonly bus: Bus;
  readonly live: LiveRequests;
  readonly runs: Runs;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** The words of the policy that is in force, for its codes. */
  readonly codes: () => PolicyCodes;
}

/** An ending whose message follows from its code. */
type Told = Omit<Ending, "message">;

export class Moves {
  readonly #options: MovesOptions;

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** Ends a request; undefined when it had ended already. Whoever works on it is told to stop. */
  async end(row: RequestRow, ending: Told): Promise<RequestRow | undefined> {
    const { outbox, clock, codes } = this.#options;
    const told = {
      ...ending,
      message: outcomeMessage(ending.code, codes(), ending.state === "blocked" ? "BLOCKED" : "FAILED"),
    };
    const ended = await outbox.commit((tx, places) => endRequest(tx, places, row, told, clock.now()));
    if (ended) this.announce(ended);
    if (ended && ending.state !== "released" && row.state !== "held") this.#stopWork(ended);
    return ended;
  }

  /** A run was lost: tried again where that is allowed, else ended as failed. */
  async lost(
    row: RequestRow,
    lost: { retryable: boolean; code: string; stage: string; detail: string },
  ): Promise<void> {
    const { limits, outbox, runs } = this.#options;
    const facts = { ...row, maxAttempts: limits.maxAttempts };
    const next = afterLostAttempt(facts, lost.retryable);
    if (next === "ignore") return;
    if (next === "retry") {
      runs.drop(row.id);
      const again = await outbox.commit((tx) => this.requeueIn(tx, row, row.job, row.attempt + 1, row.deadlineAt));
      if (again)
        this.#options.log.warn(
          { requestId: row.id, attempt: again.attempt, reason: lost.code },
          "attempt lost, trying again",
        );
      return;
    }
    const spent = lost.retryable && row.windowsReleased === 0 && row.state !== "held";
    const code = spent ? "ATTEMPTS_EXHAUSTED" : lost.code;
    await this.end(row, {
      state: "failed",
      code,
      stage: lost.stage,
      detail: { cause: lost.code, explanation: lost.detail.slice(0, 200) },
    });
  }

  /** In a caller's transaction: back to the queue as a new attempt, with its JOBS message. */
  async requeueIn(
    tx: Tx,
    row: RequestRow,
    job: Uint8Array,
    attempt: number,
    deadlineAt: Date,
  ): Promise<Committed<RequestRow | undefined>> {
    const queued = await requeue(tx, row, job, { attempt, deadlineAt, now: this.#options.clock.now() });
    return { value: queued, messages: queued ? [jobMessage(queued)] : [] };
  }

  announce(row: RequestRow): void {
    if (row.endedAt) this.#options.runs.drop(row.id);
    this.#options.live.publish(row.id, { row });
  }

  #stopWork(row: RequestRow): void {
    const message = create(ControlMessageSchema, { requestId: row.id, code: row.code || row.state.toUpperCase() });
    this.#options.bus.signal(subjects.control(row.id), ControlMessageSchema, message);
  }
}
