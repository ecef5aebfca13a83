/** The runs that door 2 is reading, by request and attempt; bounded, and forgotten when their deadline is past. */
import type { Clock } from "@sallyport/runtime";
import type { Run } from "./run.ts";

const maxRuns = 20_000;
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
    if (this.#entries.size >= maxRuns) this.#forget();
    const { requestId, attempt, deadlineMs } = run.job;
    this.#entries.set(keyOf(requestId, attempt), { run, forgetAtMs: Number(deadlineMs) + graceMs });
  }

  /** Whatever attempt of the request is read: nothing more of it is let out. */
  stop(requestId: string): void {
    for (const { run } of this.#entries.values()) if (run.job.requestId === requestId) run.state = "over";
  }

  /** Those past their time; where none is, the oldest: it can be replayed. */
  #forget(): void {
    const now = this.#clock.now().getTime();
    for (const [key, { forgetAtMs }] of this.#entries) if (forgetAtMs < now) this.#entries.delete(key);
    while (this.#entries.size >= maxRuns) this.#entries.delete(this.#entries.keys().next().value!);
  }
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId}.${attempt}`;
}
