import { AppError } from "@sallyport/runtime";
import type { About } from "./switched-off.ts";

/** One call's place. `signal` aborts, with what to tell the caller, when the service cannot wait for it any longer. */
export interface Slot extends Disposable {
  readonly signal: AbortSignal;
  /** Who and what it is about: with a request that it brought back, that one as well. */
  readonly about: About[];
}

/** From half full on nobody gets more than a fair share: a tenant of the places, an identity of its tenant's. */
const crowded = 1 / 2;
/** Never one identity alone the last quarter, nor all who are being served the last sixteenth: others still get in. */
const mostForOne = 3 / 4;
const mostForAll = 15 / 16;

/** Calls being served of one tenant, by identity. */
type Tenant = Map<string, number>;

/** At most so many calls at once, in fair shares; the next is told to come back rather than left waiting. */
export class InFlight {
  readonly #max: number;
  readonly #calls = new Map<AbortController, { readonly caller: About; readonly about: readonly About[] }>();
  readonly #tenants = new Map<string, Tenant>();
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
    if (this.#stopping) throw stopping();
    if (this.#calls.size >= this.#max) throw busy("the platform is busy; try again shortly");
    if (this.#calls.size >= this.#max * crowded && this.#hasItsShare(caller))
      throw busy("the platform is busy, and you have your share of it; try again shortly");
    const call = new AbortController();
    const about = [caller];
    this.#calls.set(call, { caller, about });
    this.#add(caller, 1);
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

  /** The caller himself, or all of his tenant. */
  #hasItsShare(caller: About): boolean {
    const tenant: Tenant = this.#tenants.get(tenantOf(caller)) ?? new Map();
    const ofTenant = [...tenant.values()].reduce((sum, each) => sum + each, 0);
    const own = tenant.get(identityOf(caller)) ?? 0;
    const tenants = this.#tenants.size + (tenant.size === 0 ? 1 : 0);
    const identities = tenant.size + (own === 0 ? 1 : 0);
    const forTenant = Math.ceil((this.#max * mostForAll) / tenants);
    const forOne = Math.max(1, Math.floor(Math.min(this.#max * mostForOne, forTenant / identities)));
    return ofTenant >= forTenant || own >= forOne;
  }

  #add(caller: About, change: 1 | -1): void {
    const [key, identity] = [tenantOf(caller), identityOf(caller)];
    const tenant: Tenant = this.#tenants.get(key) ?? new Map();
    const count = (tenant.get(identity) ?? 0) + change;
    if (count === 0) tenant.delete(identity);
    else tenant.set(identity, count);
    if (tenant.size === 0) this.#tenants.delete(key);
    else this.#tenants.set(key, tenant);
  }

  #leave(call: AbortController): void {
    const caller = this.#calls.get(call)?.caller;
    if (!caller) return;
    this.#calls.delete(call);
    this.#add(caller, -1);
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

function tenantOf({ tenant = "" }: About): string {
  return tenant;
}

function identityOf({ issuer, subject }: About): string {
  return JSON.stringify([issuer, subject]);
}

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
