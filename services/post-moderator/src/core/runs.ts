/** The runs that door 2 is reading, by request and attempt; bounded, and forgotten when their deadline is past. */
import type { Clock } from "@sallyport/runtime";
import type { Run } from "./run.ts";

const maxRuns = 5_000;
const lookedAt = 4;
const graceMs = 60_000;

interface Entry {
  readonly run: Run;
  readonly forgetAtMs: number;
}

export class Runs {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(requestId: string, attempt: number): Run | undefined {
    return this.#entries.get(keyOf(requestId, attempt))?.run;
  }

  add(run: Run): void {
    this.#forget();
    const { requestId, attempt, deadlineMs } = run.job;
    this.#entries.set(keyOf(requestId, attempt), { run, forgetAtMs: Number(deadlineMs) + graceMs });
  }

  remove({ job }: Run): void {
    this.#entries.delete(keyOf(job.requestId, job.attempt));
  }

  /** Whatever attempt of the request is read: nothing more of it is let out. */
  stop(requestId: string): void {
    for (const { run } of this.#entries.values()) if (run.job.requestId === requestId) run.state = "over";
  }

  /** Runs end about in the order in which they began: looking at the oldest few each time keeps up. */
  #forget(): void {
    const now = this.#clock.now().getTime();
    let looked = 0;
    for (const [key, { forgetAtMs }] of this.#entries) {
      // What is forgotten early can be replayed.
      if (forgetAtMs < now || this.#entries.size >= maxRuns) this.#entries.delete(key);
      if (++looked >= lookedAt) return;
    }
  }
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId}.${attempt}`;
}
