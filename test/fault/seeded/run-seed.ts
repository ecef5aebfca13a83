/** One seed: load, faults by schedule, quiet, and then the checker's word. */
import { delay } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { readRequests } from "../../kit/index.ts";
import { check, isSettled, type Violation } from "../checker/index.ts";
import { type Evidence, gather, type HeldSwitch, outboxes } from "../support/evidence.ts";
import { allReady } from "../support/faults.ts";
import { Load } from "../support/load.ts";
import { streamOf } from "../support/random.ts";
import { Reviewer } from "../support/reviewer.ts";
import { describeStep, type Step, scheduleMs, scheduleOf } from "./schedule.ts";
import { liftAll, type Pause } from "./switch-faults.ts";
import type { World } from "./world.ts";

export interface StepReport {
  readonly what: string;
  readonly name: string;
  /** Why it did not take place; undefined when it was seen to. */
  readonly missed?: string;
}

export interface SeedReport {
  readonly seed: number;
  readonly steps: readonly StepReport[];
  readonly calls: number;
  /** How many requests ended how. */
  readonly states: Readonly<Record<string, number>>;
  /** How many calls ended with which error. */
  readonly errors: Readonly<Record<string, number>>;
  /** Bytes of answers that callers heard. */
  readonly heard: number;
  readonly violations: readonly Violation[];
  readonly tookMs: number;
  readonly evidence: Evidence;
}

const callers = 6;
const callDeadlineMs = 25_000;
const reviewerStream = 900;
const readyMs = 90_000;
const settleMs = 90_000;

export async function runSeed(world: World, seed: number): Promise<SeedReport> {
  const { sallyport, clients, log } = world;
  const { platform } = sallyport;
  const startedAt = performance.now();
  await allReady(platform, readyMs);
  const since = new Set((await readRequests(platform)).map(({ id }) => id));
  const before = await log.checkpoint();
  const load = new Load({ sallyport, clients, seed, deadlineMs: callDeadlineMs });
  const reviewer = new Reviewer();
  load.start(callers);
  reviewer.start(sallyport, clients, streamOf(seed, reviewerStream));
  const schedule = scheduleOf(seed);
  const steps = await playAll(world, schedule, startedAt);
  const left = scheduleMs - (performance.now() - startedAt);
  if (left > 0) await delay(left);
  await Promise.all([load.stop(), reviewer.stop()]);
  await allReady(platform, readyMs).catch((error: Error) => {
    const done = steps.map(({ what, missed }) => `${what}${missed === undefined ? "" : ` (${missed})`}`);
    throw new Error(`seed ${seed}: ${error.message}, after ${done.join("; ")}`, { cause: error });
  });
  await liftAll(world);
  await quiet(world);
  const pauses = holding(world.pauses, startedAt, schedule);
  const evidence = await gather({ sallyport, clients, log }, { calls: load.calls, before, since, pauses });
  const fresh = evidence.rows.filter(({ id }) => evidence.fresh.has(id));
  return {
    seed,
    steps,
    calls: evidence.transcripts.length,
    states: countBy(fresh, ({ state }) => state),
    errors: countBy(
      evidence.transcripts.filter(({ error }) => error),
      ({ error }) => error!.reason.toUpperCase(),
    ),
    heard: evidence.transcripts.flatMap(({ windows }) => windows).reduce((sum, { text }) => sum + text.length, 0),
    violations: check(evidence),
    tookMs: performance.now() - startedAt,
    evidence,
  };
}

function countBy<T>(all: readonly T[], key: (one: T) => string): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(all, key)].map(([name, of]) => [name, of.length]));
}

/** On a slow machine a part may not be back when its next fault is due: that one comes a little later then. */
async function playAll(world: World, steps: readonly Step[], startedAt: number): Promise<StepReport[]> {
  const last = new Map<string, Promise<StepReport>>();
  const playing = steps.map((step) => {
    const touched = step.kind.touches(step.target);
    const before = last.get(touched);
    const own = (async () => {
      await before;
      return await play(world, step, startedAt);
    })();
    last.set(touched, own);
    return own;
  });
  return await Promise.all(playing);
}

/** A fault that could not take place, or be undone, is told, not hidden; whether all is well again is asked later. */
async function play(world: World, step: Step, startedAt: number): Promise<StepReport> {
  const { kind, target, atMs, lastsMs, random } = step;
  const report = { what: describeStep(step), name: kind.name };
  const why = kind.impossible?.(world);
  if (why !== undefined) return { ...report, missed: why };
  await delay(Math.max(0, atMs - (performance.now() - startedAt)));
  let missed: string | undefined;
  const miss = (error: unknown) => {
    missed = (error as Error).message;
    return undefined;
  };
  const fault = await (async () => kind.begin(world, target, random))().catch(miss);
  if (fault) {
    await fault.fired().catch(miss);
    await delay(lastsMs);
    await fault.undo().catch(miss);
  }
  return { ...report, ...(missed !== undefined && { missed }) };
}

/** A switch holds within a second of its reply; where the bus or who reads it is disturbed, once what they know is stale. */
const switchMs = 1_000;
const staleSwitchMs = 5_000;
/** For what had gone out and is on its way to a caller who has much else to do. */
const onItsWayMs = 500;
/** So long a disturbance is felt after it is over. */
const echoMs = 5_000;

function holding(pauses: readonly Pause[], startedAt: number, steps: readonly Step[]): HeldSwitch[] {
  const own = pauses.filter(({ from }) => from > startedAt);
  return own.map(({ id, affects, from, until }) => {
    const disturbed = steps.some(({ target, kind, atMs, lastsMs }) => {
      const begins = startedAt + atMs;
      const meanwhile = begins < until && begins + lastsMs + echoMs > from;
      return meanwhile && kind.name !== "paused" && /nats|gateway|governance/.test(target);
    });
    const withinMs = (disturbed ? staleSwitchMs : switchMs) + onItsWayMs;
    return { id, affects, from: from + withinMs, until };
  });
}

/** As long as it takes, within bounds: what is not settled then is the checker's to find. */
async function quiet({ sallyport }: World): Promise<void> {
  const settled = async () => {
    const rows = await readRequests(sallyport.platform);
    return rows.every(isSettled) && (await outboxes(sallyport)).length === 0;
  };
  await waitFor("everything to come to rest", settled, { timeoutMs: settleMs, everyMs: 200 }).catch(() => {});
}
