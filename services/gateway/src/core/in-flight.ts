import { AppError } from "@sallyport/runtime";

/** One call's place. `signal` aborts, with what to tell the caller, when the service cannot wait for it any longer. */
export interface Slot extends Disposable {
  readonly signal: AbortSignal;
}

/** At most so many calls at once; the next is told to come back rather than left waiting. */
export class InFlight {
  readonly #max: number;
  readonly #calls = new Set<AbortController>();
  #stopping = false;
  #onEmpty: (() => void) | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#calls.size;
  }

  /** No call is taken any more; what was accepted belongs to the ledger. */
  get max(): number {
    return this.#max;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  enter(): Slot {
    if (this.#stopping) throw stopping();
    if (this.#calls.size >= this.#max)
      throw new AppError("RESOURCE_EXHAUSTED", "the platform is busy; try again shortly", { reason: "OVERLOADED" });
    const call = new AbortController();
    this.#calls.add(call);
    return {
      signal: call.signal,
      [Symbol.dispose]: () => {
        this.#calls.delete(call);
        if (this.#calls.size === 0) this.#onEmpty?.();
      },
    };
  }

  /** Takes no more, lets the calls in flight finish for `graceMs`, then ends the rest and gives them a moment to say so. */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true;
    await this.#empty(graceMs);
    for (const call of this.#calls) call.abort(stopping());
    await this.#empty(farewellMs);
  }

  async #empty(withinMs: number): Promise<void> {
    if (this.#calls.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, withinMs);
    this.#onEmpty = resolve;
    await promise;
    clearTimeout(timer);
    this.#onEmpty = undefined;
  }
}

const farewellMs = 500;

function stopping(): AppError {
  const message = "this gateway is stopping; fetch the request later by its id, or send it again";
  return new AppError("UNAVAILABLE", message, { reason: "STOPPING" });
}
