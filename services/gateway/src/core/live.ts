/** Hands what was committed to the callers that wait for it in this process. Only a hint: a follower that hears nothing reads the ledger. */
import type { Envelope } from "@sallyport/attestation";
import type { RequestRow } from "../db/ledger.ts";
import type { Chain } from "./chain.ts";

export interface ReleasedWindow {
  attempt: number;
  index: number;
  /** Exactly the bytes that the ticket is over. */
  content: Uint8Array;
  ticket: Envelope;
  /** With the first window. A person's release of the whole brings its hold and review as well. */
  chain?: Chain & { readonly hold?: Envelope; readonly review?: Envelope };
}

export type LiveEvent = { window: ReleasedWindow } | { row: RequestRow };

/** A follower this far behind is cut loose and catches up from the ledger. */
const maxPending = 64;

export class LiveRequests {
  readonly #followers = new Map<string, Set<Follower>>();

  follow(requestId: string): Follower {
    const follower = new Follower(() => this.#forget(requestId, follower));
    const set = this.#followers.get(requestId) ?? new Set();
    this.#followers.set(requestId, set.add(follower));
    return follower;
  }

  publish(requestId: string, event: LiveEvent): void {
    for (const follower of this.#followers.get(requestId) ?? []) follower.push(event);
  }

  get size(): number {
    return this.#followers.size;
  }

  #forget(requestId: string, follower: Follower): void {
    const set = this.#followers.get(requestId);
    set?.delete(follower);
    if (set?.size === 0) this.#followers.delete(requestId);
  }
}

export class Follower implements Disposable {
  readonly #pending: LiveEvent[] = [];
  readonly #release: () => void;
  #wake: (() => void) | undefined;
  #missed = false;

  constructor(release: () => void) {
    this.#release = release;
  }

  push(event: LiveEvent): void {
    if (this.#pending.length < maxPending) this.#pending.push(event);
    else this.#missed = true;
    this.#wake?.();
  }

  /** The next event; undefined when the ledger is to be asked: after `idleMs` without one, after missed ones, or aborted. */
  async next(idleMs: number, signal: AbortSignal): Promise<LiveEvent | undefined> {
    if (this.#pending.length === 0 && !this.#missed && !signal.aborted) await this.#wait(idleMs, signal);
    const event = this.#pending.shift();
    if (event === undefined) this.#missed = false;
    return event;
  }

  [Symbol.dispose](): void {
    this.#release();
  }

  #wait(idleMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, idleMs);
      signal.addEventListener("abort", done, { once: true });
      this.#wake = done;
    });
  }
}
