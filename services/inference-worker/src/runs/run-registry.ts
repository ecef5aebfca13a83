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

/** What runs now in this worker, so that it can be stopped, and is never run twice. */
export class RunRegistry {
  readonly #runs = new Map<string, Entry>();

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
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId}.${attempt}`;
}
