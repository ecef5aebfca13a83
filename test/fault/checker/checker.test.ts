/** The checker without a platform: it says nothing of a good day, and finds whatever is wrong with it, wherever. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { NOW } from "../../../packages/attestation/tests/fixture.ts";
import type { Evidence } from "../support/evidence.ts";
import { corruptions } from "./corruptions/index.ts";
import { check } from "./index.ts";
import { makeSample } from "./sample.ts";

let sample: Evidence;
beforeAll(() => {
  vi.useFakeTimers({ now: NOW, toFake: ["Date"] });
  sample = makeSample();
});
afterAll(() => void vi.useRealTimers());

test("a day in which every promise was kept is found good", () => {
  expect(check(sample)).toEqual([]);
});

test.for(corruptions)("in every place of it is found: $what", ({ promise, ways }) => {
  const all = ways(sample);
  expect(all.length).toBeGreaterThan(0);
  for (const [at, spoil] of all.entries())
    expect({ at, promises: check(spoil()).map((violation) => violation.promise) }).toEqual({
      at,
      promises: expect.arrayContaining([promise]),
    });
});
