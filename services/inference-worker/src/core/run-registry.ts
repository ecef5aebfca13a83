import type { SwitchFacts } from "@sallyport/runtime";
import { RunFailure, type RunFailureCode } from "../domain/run-failure.ts";

export interface Run {
  readonly requestId: string;
  readonly attempt: number;
  readonly model: string;
  readonly modelDigest: string;
  /** What switches may be about. */
  readonly about: SwitchFacts;
  /** Aborted with a RunFailure as its reason. */
  readonly signal: AbortSignal;
  readonly done: Promise<void>;
}

interface Entry extends Run {
  stop: AbortController;
}

const cancelled = ["CANCELLED", "the request was cancelled"] as const;
/** Requests that ended before their jobs came here; the oldest are forgotten first. */
const maxCancelled = 10_000;

/** What runs now in this worker, so that it can be stopped, and is never run twice. */
export class RunRegistry {
  readonly #runs = new Map<string, Entry>();
  readonly #cancelled = new Set<string>();

  get size(): number {
    return this.#runs.size;
  }

  find(requestId: string, attempt: number): Run | undefined {
    return this.#runs.get(keyOf(requestId, attempt));
  }

  /** Runs `body`; the run is in the registry from before its first step until after its last. */
  async track(
    facts: Pick<Run, "requestId" | "attempt" | "model" | "modelDigest" | "about">,
    deadlineMs: number,
    body: (run: Run) => Promise<void>,
  ): Promise<void> {
    const stop = new AbortController();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const run: Entry = { ...facts, stop, signal: stop.signal, done };
    const key = keyOf(facts.requestId, facts.attempt);
    this.#runs.set(key, run);
    const late = () => stop.abort(new RunFailure("DEADLINE_EXCEEDED", "the request's time is over"));
    const timer = setTimeout(late, Math.max(0, deadlineMs));
    if (this.#cancelled.has(facts.requestId)) stop.abort(new RunFailure(...cancelled));
    try {
      await body(run);
    } finally {
      clearTimeout(timer);
      this.#runs.delete(key);
      resolve();
    }
  }

  /** Stops every run that `which` holds for. Returns how many. */
  stop(which: (run: Run) => boolean, code: RunFailureCode, message: string): number {
    const chosen = [...this.#runs.values()].filter((run) => !run.signal.aborted && which(run));
    for (const { stop } of chosen) stop.abort(new RunFailure(code, message));
    return chosen.length;
  }

  /** Stops the request's run, also when it is yet to come: who sends and cancels again and again keeps nobody waiting. */
  cancel(requestId: string): number {
    const stopped = this.stop((run) => run.requestId === requestId, ...cancelled);
    if (stopped === 0) this.#remember(requestId);
    return stopped;
  }

  #remember(requestId: string): void {
    this.#cancelled.add(requestId);
    for (const oldest of this.#cancelled) {
      if (this.#cancelled.size <= maxCancelled) break;
      this.#cancelled.delete(oldest);
    }
  }
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId}.${attempt}`;
}
