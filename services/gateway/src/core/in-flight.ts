import { AppError } from "@sallyport/runtime";
import type { About } from "./switched-off.ts";

/** One call's place. `signal` aborts, with what to tell the caller, when the service cannot wait for it any longer. */
export interface Slot extends Disposable {
  readonly signal: AbortSignal;
  /** Who and what it is about: with a request that it brought back, that one as well. */
  readonly about: About[];
}

/** From half full on nobody gets more than a fair share, and nobody alone ever gets the last quarter: others still get in. */
const crowded = 1 / 2;
const mostForOne = 3 / 4;

/** At most so many calls at once, and a fair share for each identity; the next is told to come back rather than left waiting. */
export class InFlight {
  readonly #max: number;
  readonly #calls = new Map<AbortController, { readonly identity: string; readonly about: readonly About[] }>();
  readonly #perIdentity = new Map<string, number>();
  #stopping = false;
  #onEmpty: (() => void) | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  get max(): number {
    return this.#max;
  }

  get count(): number {
    return this.#calls.size;
  }

  /** No call is taken any more; what was accepted belongs to the ledger. */
  get stopping(): boolean {
    return this.#stopping;
  }

  enter(caller: About): Slot {
    const { tenant, issuer, subject } = caller;
    if (this.#stopping) throw stopping();
    const identity = JSON.stringify([tenant, issuer, subject]);
    const own = this.#perIdentity.get(identity) ?? 0;
    if (this.#calls.size >= this.#max) throw busy("the platform is busy; try again shortly");
    if (this.#calls.size >= this.#max * crowded && own >= this.#fairShare(own))
      throw busy("the platform is busy, and you have your share of it; try again shortly");
    const call = new AbortController();
    const about = [caller];
    this.#calls.set(call, { identity, about });
    this.#perIdentity.set(identity, own + 1);
    return { signal: call.signal, about, [Symbol.dispose]: () => this.#leave(call) };
  }

  /** Takes no more, lets the calls in flight finish for `graceMs`, then ends the rest and gives them a moment to say so. */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true;
    await this.#empty(graceMs);
    for (const call of this.#calls.keys()) call.abort(stopping());
    await this.#empty(farewellMs);
  }

  /** Ends at once, with what `why` says, every call about something that it says something of. Returns how many. */
  end(why: (about: About) => AppError | undefined): number {
    let ended = 0;
    for (const [call, { about }] of this.#calls) {
      const reason = call.signal.aborted ? undefined : firstOf(about, why);
      if (!reason) continue;
      call.abort(reason);
      ended += 1;
    }
    return ended;
  }

  #fairShare(own: number): number {
    const active = this.#perIdentity.size + (own === 0 ? 1 : 0);
    return Math.max(1, Math.floor(Math.min(this.#max * mostForOne, this.#max / active)));
  }

  #leave(call: AbortController): void {
    const identity = this.#calls.get(call)?.identity;
    if (identity === undefined) return;
    this.#calls.delete(call);
    const left = this.#perIdentity.get(identity)! - 1;
    if (left === 0) this.#perIdentity.delete(identity);
    else this.#perIdentity.set(identity, left);
    if (this.#calls.size === 0) this.#onEmpty?.();
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

function busy(message: string): AppError {
  return new AppError("RESOURCE_EXHAUSTED", message, { reason: "OVERLOADED", retryAfterMs: 1_000 });
}

function firstOf(abouts: readonly About[], why: (about: About) => AppError | undefined): AppError | undefined {
  for (const about of abouts) {
    const reason = why(about);
    if (reason) return reason;
  }
  return undefined;
}

function stopping(): AppError {
  const message = "this gateway is stopping; fetch the request later by its id, or send it again";
  return new AppError("UNAVAILABLE", message, { reason: "STOPPING" });
}
