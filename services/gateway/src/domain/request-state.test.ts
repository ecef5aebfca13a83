import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  afterLostAttempt,
  dueNow,
  entersFrom,
  type Facts,
  isAtWork,
  isJudgedNow,
  isTerminal,
  type State,
  states,
  type Times,
  terminalStates,
} from "./request-state.ts";

const maxAttempts = 3;
const patience = { stallMs: 20 };
const lifetimeMs = 120;
const holdMs = 1_000;

/** Everything that can happen to a request, in whatever order; `attempt` is the attempt that a word is about. */
type Happening = { kind: (typeof kinds)[number]; attempt: number; retryable: boolean };
const kinds = ["started", "window", "final", "deny", "hold", "whole", "failed", "cancel", "letIn", "refuse"] as const;

/** A ledger in memory that asks the same questions as the real one, and counts the endings that it wrote. */
class Ledger {
  row: Facts & Times;
  now = 0;
  endings: State[] = [];
  spliced = false;
  readonly #windowsOf = new Set<number>();

  constructor(held: boolean) {
    const at = (ms: number) => new Date(ms);
    this.row = {
      ...{
        state: held ? "held" : "queued",
        holdStage: held ? "door1" : null,
        attempt: held ? 0 : 1,
        windowsReleased: 0,
      },
      ...{ deadlineAt: at(lifetimeMs), holdExpiresAt: held ? at(holdMs) : null, progressAt: null },
    };
  }

  /** The guarded update. */
  #enter(state: State, change: Partial<Facts & Times> = {}): void {
    if (!entersFrom[state].includes(this.row.state)) return;
    this.row = { ...this.row, ...change, state };
    if (isTerminal(state)) this.endings.push(state);
  }

  happen(happening: Happening): void {
    const { state, holdStage } = this.row;
    const { kind, attempt } = happening;
    if (kind === "cancel") this.#enter("cancelled");
    else if (kind === "letIn" || kind === "refuse") {
      if (state === "held" && holdStage !== "collecting") this.#decided(kind === "letIn");
    } else if (isJudgedNow(this.row, attempt)) this.#judged(happening);
  }

  #decided(letIn: boolean): void {
    const { holdStage, attempt } = this.row;
    const deadlineAt = new Date(this.now + lifetimeMs);
    if (!letIn) this.#enter("blocked");
    else if (holdStage === "door2") this.#enter("released");
    else this.#enter("queued", { attempt: attempt + 1, deadlineAt, progressAt: null });
  }

  #judged({ kind, retryable }: Happening): void {
    const { state, holdStage } = this.row;
    const now = new Date(this.now);
    if (kind === "started" && state === "queued") this.#enter("running", { progressAt: now });
    if ((kind === "window" || kind === "final") && state === "running") this.#release(kind === "final", now);
    if (kind === "deny") this.#enter("blocked");
    if ((kind === "hold" || kind === "whole") && (state === "running" || holdStage === "collecting")) {
      const stage = kind === "hold" ? "collecting" : "door2";
      this.#enter("held", { holdStage: stage, holdExpiresAt: new Date(this.now + holdMs) });
    }
    if (kind === "failed") this.#lost(retryable);
  }

  #release(final: boolean, now: Date): void {
    this.#windowsOf.add(this.row.attempt);
    this.spliced ||= this.#windowsOf.size > 1;
    this.row = { ...this.row, windowsReleased: this.row.windowsReleased + 1, progressAt: now };
    if (final) this.#enter("released");
  }

  #lost(retryable: boolean): void {
    const next = afterLostAttempt(this.row, retryable, maxAttempts);
    if (next === "fail") this.#enter("failed");
    if (next === "retry") this.#enter("queued", { attempt: this.row.attempt + 1, progressAt: null });
  }

  reconcile(): void {
    const due = dueNow(this.row, new Date(this.now), patience);
    if (due === "expire") this.#enter("blocked");
    if (due === "fail") this.#enter("failed");
    if (due === "lost") this.#lost(true);
  }
}

const happening = fc.record({
  kind: fc.constantFrom(...kinds),
  attempt: fc.integer({ min: 0, max: maxAttempts + 1 }),
  retryable: fc.boolean(),
});
const step = fc.oneof(
  happening,
  fc.record({ waitMs: fc.integer({ min: 1, max: 60 }) }),
  fc.constant("reconcile" as const),
);

describe("exactly one terminal state for every accepted request (P2)", () => {
  test("whatever happens, in whatever order, and when nothing more happens at all", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 60 }), (held, steps) => {
        const ledger = new Ledger(held);
        for (const next of steps) {
          if (next === "reconcile") ledger.reconcile();
          else if ("waitMs" in next) ledger.now += next.waitMs;
          else ledger.happen(next);
          expect(ledger.endings.length).toBeLessThanOrEqual(1);
        }
        // Everybody has gone away: the reconciler alone must bring it to its end.
        for (let round = 0; round < 20; round += 1) {
          ledger.now += holdMs;
          ledger.reconcile();
        }
        expect(ledger.endings).toEqual([ledger.row.state]);
        expect(isTerminal(ledger.row.state)).toBe(true);
        expect(ledger.spliced).toBe(false);
        expect(ledger.row.attempt).toBeLessThanOrEqual(maxAttempts + 1);
      }),
      { numRuns: 2_000 },
    );
  });

  test("nothing leads out of a terminal state, and every state is entered from somewhere live", () => {
    for (const state of states) {
      expect(entersFrom[state].filter(isTerminal)).toEqual([]);
      expect(entersFrom[state].length).toBeGreaterThan(0);
    }
    expect(terminalStates.every(isTerminal)).toBe(true);
  });
});

describe("a lost run", () => {
  const running = { state: "running", holdStage: null, attempt: 1, windowsReleased: 0 } as const;
  test.each([
    [running, true, "retry"],
    [{ ...running, attempt: maxAttempts }, true, "fail"],
    [running, false, "fail"],
    [{ ...running, windowsReleased: 1 }, true, "fail"],
    [{ ...running, state: "held", holdStage: "collecting" } as const, true, "fail"],
    [{ ...running, state: "held", holdStage: "door2" } as const, false, "ignore"],
    [{ ...running, state: "held", holdStage: "door1", attempt: 0 } as const, false, "ignore"],
    [{ ...running, state: "cancelled" } as const, true, "ignore"],
  ])("%j, worth another try: %s → %s", (facts, retryable, expected) => {
    expect(afterLostAttempt(facts, retryable, maxAttempts)).toBe(expected);
  });
});

test("a verdict counts for the current attempt of a request at work, and for nothing else", () => {
  const facts = { state: "running", holdStage: null, attempt: 2, windowsReleased: 0 } as const;
  expect(isJudgedNow(facts, 2)).toBe(true);
  expect(isJudgedNow(facts, 1)).toBe(false);
  expect(isJudgedNow({ ...facts, state: "held", holdStage: "door2" }, 2)).toBe(false);
  expect(isJudgedNow({ ...facts, state: "held", holdStage: "door1", attempt: 0 }, 0)).toBe(false);
  for (const state of terminalStates) expect(isAtWork({ state, holdStage: null })).toBe(false);
});
