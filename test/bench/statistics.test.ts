import { describe, expect, test } from "vitest";
import { addedPerRound, median, percentile, summarise } from "./statistics.ts";

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe("percentiles", () => {
  test("are samples that were measured, by nearest rank, whatever their order", () => {
    const samples = upTo(100).reverse();
    expect(percentile(samples, 0.5)).toBe(50);
    expect(percentile(samples, 0.99)).toBe(99);
    expect(percentile(samples, 1)).toBe(100);
    expect(percentile(samples, 0)).toBe(1);
    expect(percentile([7], 0.99)).toBe(7);
  });

  test("of nothing are no number", () => {
    expect(percentile([], 0.5)).toBeNaN();
    expect(summarise([])).toEqual({ count: 0, p50: NaN, p90: NaN, p99: NaN, mean: NaN });
  });

  test("sort numbers as numbers, and leave the samples as they were", () => {
    const samples = [10, 9, 100];
    expect(median(samples)).toBe(10);
    expect(samples).toEqual([10, 9, 100]);
  });
});

describe("added latency", () => {
  test("is taken within each round, so that a slow minute does not count as ours", () => {
    const direct = [
      [1, 1, 1],
      [50, 50, 50],
      [1, 1, 1],
    ];
    const through = [
      [4, 4, 4],
      [53, 53, 53],
      [4, 4, 4],
    ];
    expect(addedPerRound(direct, through, 0.5)).toBe(3);
  });

  test("passes over a round in which one side measured nothing", () => {
    expect(addedPerRound([[], [2]], [[5], [5]], 0.5)).toBe(3);
    expect(addedPerRound([[]], [[5]], 0.5)).toBeNaN();
  });
});
