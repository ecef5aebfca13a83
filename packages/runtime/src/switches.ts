/**
 * The kill switch as every door reads it (docs/design/kill-switch.md): two signed values of bucket `switches`, governance's
 * and the operator's break-glass one, kept in memory, so that asking needs no network.
 */
import { BREAK_GLASS, type Json } from "@sallyport/attestation";
import { type WatchedState, type WatchOptions, watchState } from "./state.ts";
import { fields, invalid, list, text, time } from "./state-fields.ts";
import {
  type Switch,
  type SwitchFacts,
  SwitchIndex,
  type SwitchKind,
  type SwitchTarget,
  switchCode,
  switchError,
  switchKinds,
} from "./switch-index.ts";

export interface WatchedSwitches extends AsyncDisposable {
  /** The switch that these facts fall under now. Throws UNAVAILABLE/STATE_STALE when nobody knows. */
  find(facts: SwitchFacts): Switch | undefined;
  /** Throws PAUSED, BANNED, CREDENTIAL_REVOKED or STATE_STALE. */
  check(facts: SwitchFacts): void;
  /** All that hold now, one for each target and kind. Throws STATE_STALE. */
  holding(): readonly Switch[];
  /** Both values are confirmed (the break-glass one may be confirmed as absent). */
  readonly fresh: boolean;
  /** Called when either value has changed. Returns the function that ends it. */
  onChange(listener: () => void): () => void;
}

/** Governance's value: what it has set, and which break-glass switches were lifted. */
export interface SwitchSet {
  readonly switches: readonly Switch[];
  readonly lifted: readonly string[];
}

/** Returns at once; until both values were read it is stale. */
export function watchSwitches(options: Pick<WatchOptions<unknown>, "bus" | "trust" | "clock" | "log" | "monotonic">) {
  const { bucket, key } = BREAK_GLASS;
  const active = watchState({ ...options, bucket, key: "active", decode: readSwitches });
  const breakGlass = watchState({
    ...options,
    bucket,
    key,
    decode: readSwitches,
    absent: { switches: [], lifted: [] },
  });
  return new Switches(active, breakGlass, () => options.clock.now());
}

class Switches implements WatchedSwitches {
  readonly #active: WatchedState<SwitchSet>;
  readonly #breakGlass: WatchedState<SwitchSet>;
  readonly #now: () => Date;
  #index: { of: readonly SwitchSet[]; index: SwitchIndex } | undefined;

  constructor(active: WatchedState<SwitchSet>, breakGlass: WatchedState<SwitchSet>, now: () => Date) {
    this.#active = active;
    this.#breakGlass = breakGlass;
    this.#now = now;
  }

  find(facts: SwitchFacts): Switch | undefined {
    return this.#current().find(facts, this.#now());
  }

  check(facts: SwitchFacts): void {
    const found = this.find(facts);
    if (found) throw switchError(switchCode(found));
  }

  holding(): readonly Switch[] {
    return this.#current().holding(this.#now());
  }

  get fresh(): boolean {
    return this.#active.fresh && this.#breakGlass.fresh;
  }

  onChange(listener: () => void): () => void {
    const stops = [this.#active, this.#breakGlass].map((state) => state.onChange(listener));
    return () => {
      for (const stop of stops) stop();
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#active[Symbol.asyncDispose](), this.#breakGlass[Symbol.asyncDispose]()]);
  }

  /** Made once for each pair of values. */
  #current(): SwitchIndex {
    const [active, breakGlass] = [this.#active.get(), this.#breakGlass.get()];
    if (this.#index?.of[0] !== active || this.#index.of[1] !== breakGlass) {
      this.#index = { of: [active, breakGlass], index: new SwitchIndex(effective(active, breakGlass)) };
    }
    return this.#index.index;
  }
}

/** Only governance lifts, and only what the break-glass key set: its own it leaves out. */
export function effective(active: SwitchSet, breakGlass: SwitchSet): Switch[] {
  const lifted = new Set(active.lifted);
  return [...active.switches, ...breakGlass.switches.filter(({ id }) => !lifted.has(id))];
}

export function readSwitches(value: Json): SwitchSet {
  const { switches, lifted = [] } = fields(value, ["switches"], ["lifted"]);
  return { switches: list(switches, readSwitch), lifted: list(lifted, (id) => text(id, idForm)) };
}

/** What governance can keep, list and lift: a switch that holds and that nobody could lift would be worse than none. */
const idForm = /^[A-Za-z0-9_.-]{1,128}$/;
const nameForm = /^[^\p{C}\p{Zl}\p{Zp}]{1,1024}$/u;

function readSwitch(value: Json): Switch {
  const { id, kind, target, until } = fields(value, ["id", "kind", "target"], ["until"]);
  if (!switchKinds.some((known) => known === kind)) throw invalid("an unknown kind");
  const read: Switch = { id: text(id, idForm), kind: kind as SwitchKind, target: readTarget(target) };
  return until === undefined ? read : { ...read, until: time(until) };
}

const names = {
  all: [],
  model: ["model"],
  tenant: ["tenant"],
  identity: ["tenant", "issuer", "subject"],
  credential: ["credential"],
} as const satisfies Record<SwitchTarget["scope"], readonly string[]>;

function readTarget(value: Json | undefined): SwitchTarget {
  const scope = (value as { scope?: unknown } | undefined)?.scope;
  if (typeof scope !== "string" || !Object.hasOwn(names, scope)) throw invalid("an unknown scope");
  const found = fields(value, ["scope", ...names[scope as keyof typeof names]]);
  for (const name of Object.values(found)) text(name, nameForm);
  return found as unknown as SwitchTarget;
}
