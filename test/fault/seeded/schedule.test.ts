import { expect, test } from "vitest";
import { chooseCall } from "../support/load.ts";
import { streamOf } from "../support/random.ts";
import { describeStep, kinds, scheduleMs, scheduleOf } from "./schedule.ts";

const seeds = Array.from({ length: 300 }, (_, at) => at + 1);
const inWords = (seed: number) => scheduleOf(seed).map(describeStep);

test("the same seed is the same schedule, and draws the same for each fault", () => {
  for (const seed of seeds.slice(0, 50)) {
    expect(inWords(seed)).toEqual(inWords(seed));
    const drawn = () => scheduleOf(seed).map(({ random }) => random());
    expect(drawn()).toEqual(drawn());
  }
  expect(new Set(seeds.map((seed) => inWords(seed).join())).size).toBe(seeds.length);
});

test("the same caller of the same seed asks for the same, in the same way, whatever the others do", () => {
  const ask = (seed: number, caller: number) => {
    const random = streamOf(seed, caller);
    return Array.from({ length: 30 }, (_, at) => chooseCall(random, `key-${at}`));
  };
  expect(ask(7, 2)).toEqual(ask(7, 2));
  expect(ask(7, 2)).not.toEqual(ask(7, 3));
  expect(ask(7, 2)).not.toEqual(ask(8, 2));
});

test("twenty seeds in a row have every kind of fault, and all seeds hit every target", () => {
  for (const first of [1, 100, 200]) {
    const names = new Set(
      seeds
        .slice(first - 1, first + kinds.length - 1)
        .flatMap((seed) => scheduleOf(seed))
        .map(({ kind }) => kind.name),
    );
    expect(kinds.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([]);
  }
  const hit = new Set(seeds.flatMap((seed) => scheduleOf(seed)).map(({ kind, target }) => `${kind.name}: ${target}`));
  const all = kinds.flatMap(({ name, targets }) => targets.map((target) => `${name}: ${target}`));
  expect(all.filter((one) => !hit.has(one)).length / all.length).toBeLessThan(0.1);
});

test("nothing is hit twice at a time, and everything begins in time", () => {
  for (const seed of seeds) {
    const steps = scheduleOf(seed);
    expect(steps.length).toBeGreaterThan(2);
    for (const { atMs } of steps) expect(atMs).toBeLessThanOrEqual(scheduleMs);
    for (const one of steps)
      for (const other of steps)
        if (one !== other && one.kind.touches(one.target) === other.kind.touches(other.target))
          expect(Math.abs(one.atMs - other.atMs)).toBeGreaterThan(Math.min(one.lastsMs, other.lastsMs));
  }
});
