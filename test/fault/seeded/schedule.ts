/** What happens when, drawn from the seed alone: the same seed is the same schedule, on every machine. */
import { between, pick, type Random, streamOf } from "../support/random.ts";
import { busFaults } from "./bus-faults.ts";
import type { FaultKind } from "./kind.ts";
import { processFaults } from "./process-faults.ts";
import { switchFaults } from "./switch-faults.ts";
import { worldFaults } from "./world-faults.ts";

export const kinds: readonly FaultKind[] = [...processFaults, ...worldFaults, ...busFaults, ...switchFaults];

export interface Step {
  readonly kind: FaultKind;
  readonly target: string;
  readonly atMs: number;
  readonly lastsMs: number;
  /** For what the fault itself draws. */
  readonly random: Random;
}

/** Faults begin within this time. */
export const scheduleMs = 9_000;
const firstAtMs = 400;
const fewest = 4;
const most = 6;
const tries = 20;
/** Bigger than any caller's number: what faults draw does not move what callers draw. */
const scheduleStream = 1_000;

export function scheduleOf(seed: number): Step[] {
  const random = streamOf(seed, scheduleStream);
  const steps: Step[] = [];
  const count = between(random, fewest, most);
  for (let n = 0; n < count; n++) {
    // In a row of seeds every kind has its turn; the rest is chance.
    const kind = n === 0 ? kinds[seed % kinds.length]! : pick(random, kinds);
    const step = place(kind, steps, random, streamOf(seed, scheduleStream + 1 + n));
    if (step) steps.push(step);
  }
  return steps.sort((one, other) => one.atMs - other.atMs);
}

/** Somewhere where its target is not hit already, if there is room. */
function place(kind: FaultKind, others: readonly Step[], random: Random, own: Random): Step | undefined {
  for (let trial = 0; trial < tries; trial++) {
    const target = pick(random, kind.targets);
    const atMs = between(random, firstAtMs, scheduleMs);
    const lastsMs = between(random, ...(kind.lasts as [number, number]));
    const step: Step = { kind, target, atMs, lastsMs, random: own };
    if (!others.some((other) => clashes(step, other))) return step;
  }
  return undefined;
}

/** A part that has just come back is left alone for a moment. */
const restMs = 1_500;

function clashes(one: Step, other: Step): boolean {
  if (one.kind.touches(one.target) !== other.kind.touches(other.target)) return false;
  const [first, second] = one.atMs < other.atMs ? [one, other] : [other, one];
  return second.atMs < first.atMs + first.lastsMs + restMs;
}

export function describeStep({
  kind,
  target,
  atMs,
  lastsMs,
}: Pick<Step, "kind" | "target" | "atMs" | "lastsMs">): string {
  const at = `${(atMs / 1_000).toFixed(1)} s`;
  return `${at} ${target}: ${kind.name}${lastsMs > 0 ? ` for ${(lastsMs / 1_000).toFixed(1)} s` : ""}`;
}
