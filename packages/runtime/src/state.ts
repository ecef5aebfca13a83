/**
 * Signed state that every service must know at once (policy, models): one key of a bucket, kept in memory. A direct get
 * each second confirms it, and one at once when a put passes by; a put itself is only a hint, as it tells nothing about
 * what is stored. Not confirmed for 3 s, or never read, is stale, and stale refuses. It leaves nothing on the server that
 * a restart or a wiped bus could lose.
 */
import {
  decodeEnvelopeJson,
  type Envelope,
  envelopeDigest,
  type Json,
  type TrustBundle,
  verifyState,
} from "@sallyport/attestation";
import type { Bus } from "./bus/index.ts";
import type { Clock } from "./clock.ts";
import { AppError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { counter, observe } from "./telemetry/metrics.ts";

const confirmEveryMs = 1_000;
const staleAfterMs = 3_000;

const refusals = counter("sallyport_state_refusals_total", "Refusals because signed state was stale.", ["bucket"]);

export interface WatchedState<T> extends AsyncDisposable {
  /** Throws UNAVAILABLE/STATE_STALE. */
  get(): T;
  /** Of the value that `get` would return or would have returned; 0 before the first. */
  readonly version: number;
  readonly fresh: boolean;
  /** Called with each new value and its version. Returns the function that ends it. */
  onChange(listener: (value: T, version: number) => void): () => void;
}

export interface WatchOptions<T> {
  bus: Pick<Bus, "readValue" | "onPut">;
  trust: TrustBundle;
  bucket: string;
  key: string;
  /** From the signed value; throws when it makes no sense, and then the value is refused. */
  decode: (value: Json, version: number) => T | Promise<T>;
  /**
   * For a key that is not always there: what holds while it never was. Once a value was seen, it goes on holding when the
   * key is gone: what a bus lost is not lifted.
   */
  absent?: T;
  clock: Clock;
  log: Logger;
  /** Monotonic milliseconds, for staleness (performance.now). */
  monotonic?: () => number;
}

/** Returns at once; the first value comes within moments of the bus having it. */
export function watchState<T>(options: WatchOptions<T>): WatchedState<T> {
  return new Watch(options);
}

/** Stores an envelope made by signState. Resolves once the bus has it. */
export async function putState(
  bus: Pick<Bus, "putValue">,
  bucket: string,
  key: string,
  envelopeJson: string | Uint8Array,
): Promise<void> {
  await bus.putValue(
    bucket,
    key,
    typeof envelopeJson === "string" ? new TextEncoder().encode(envelopeJson) : envelopeJson,
  );
}

class Watch<T> implements WatchedState<T> {
  readonly #options: WatchOptions<T>;
  readonly #now: () => number;
  readonly #listeners = new Set<(value: T, version: number) => void>();
  readonly #timer: NodeJS.Timeout;
  readonly #stopHints: () => void;
  readonly #metrics = new DisposableStack();
  #current: { value: T; version: number; digest: string } | undefined;
  /** What was read and verified last, and by which trust bundle. */
  #verified: { bytes: Uint8Array; trustVersion: number } | undefined;
  /** When the read that confirmed the value was begun: what the bus held then, it held. */
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #again = false;
  #lastProblem = "";
  #closed = false;

  constructor(options: WatchOptions<T>) {
    this.#options = options;
    this.#now = options.monotonic ?? (() => performance.now());
    this.#stopHints = options.bus.onPut(options.bucket, options.key, () => this.#read());
    this.#timer = setInterval(() => this.#read(), confirmEveryMs);
    this.#observe();
    this.#read();
  }

  get(): T {
    const { absent } = this.#options;
    if (this.fresh && this.#current) return this.#current.value;
    if (this.fresh && absent !== undefined) return absent;
    refusals.inc({ bucket: this.#options.bucket });
    const message = `the platform's ${this.#options.bucket} state is not up to date; try again`;
    throw new AppError("UNAVAILABLE", message, { reason: "STATE_STALE", details: { bucket: this.#options.bucket } });
  }

  get version(): number {
    return this.#current?.version ?? 0;
  }

  get fresh(): boolean {
    return this.#now() - this.#confirmedAt <= staleAfterMs;
  }

  onChange(listener: (value: T, version: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#stopHints();
    this.#metrics.dispose();
    await this.#reading;
  }

  #observe(): void {
    const { bucket, key } = this.#options;
    const since = this.#now();
    const age = () => (this.#now() - Math.max(since, this.#confirmedAt)) / 1_000;
    const one = (read: () => number) => () => [{ labels: { bucket, key }, value: read() }];
    const help = "Time since the signed state was last confirmed; above 3 s it refuses.";
    this.#metrics.use(observe("sallyport_state_age_seconds", help, ["bucket", "key"], one(age)));
    const current = one(() => this.version);
    const versions = "Version of the signed state that is in force here; 0: none was read.";
    this.#metrics.use(observe("sallyport_state_version", versions, ["bucket", "key"], current));
  }

  #read(): void {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#again = false;
    this.#reading = this.#readOnce().finally(() => {
      this.#reading = undefined;
      if (this.#again && !this.#closed) this.#read();
    });
  }

  /** Never rejects. */
  async #readOnce(): Promise<void> {
    const { bus, bucket, key, log, absent } = this.#options;
    const begun = this.#now();
    try {
      const bytes = await bus.readValue(bucket, key);
      if (!bytes && absent === undefined) return this.#refuse("the bucket has no such key");
      const changed = bytes ? await this.#acceptBytes(bytes) : false;
      this.#confirmedAt = begun;
      this.#lastProblem = "";
      if (changed) this.#announce();
    } catch (err) {
      this.#refuse(err instanceof Error ? err.message : "unknown");
      log.debug({ err, bucket, key }, "state not confirmed");
    }
  }

  /** Whether the value is a new one. The same bytes are not verified each second: no time makes them worse, but the bundle's own. */
  async #acceptBytes(bytes: Uint8Array): Promise<boolean> {
    const { trust, clock } = this.#options;
    const { version: trustVersion } = trust;
    const known = this.#verified?.trustVersion === trustVersion && Buffer.compare(this.#verified.bytes, bytes) === 0;
    if (known) {
      trust.assertCurrent(clock.now());
      return false;
    }
    const changed = await this.#accept(decodeEnvelopeJson(bytes));
    this.#verified = { bytes, trustVersion };
    return changed;
  }

  /** Whether the value is a new one. */
  async #accept(envelope: Envelope): Promise<boolean> {
    const { bucket, key, trust, clock, decode } = this.#options;
    const now = clock.now();
    const state = verifyState(envelope, trust, { bucket, key, minVersion: Math.max(1, this.version), now });
    const digest = envelopeDigest(envelope);
    if (state.version === this.version) {
      if (digest === this.#current?.digest) return false;
      throw new AppError("FAILED_PRECONDITION", "two values of one version", { reason: "STATE_FORKED" });
    }
    const value = await decode(state.value, state.version);
    this.#current = { value, version: state.version, digest };
    return true;
  }

  /** Once the value counts as confirmed, so that whoever is told may ask for it. */
  #announce(): void {
    const { value, version } = this.#current!;
    for (const listener of this.#listeners) listener(value, version);
  }

  /** Said once per problem, not each second. */
  #refuse(problem: string): void {
    const { bucket, key, log } = this.#options;
    if (problem !== this.#lastProblem) log.warn({ bucket, key, problem }, "state not confirmed");
    this.#lastProblem = problem;
  }
}
