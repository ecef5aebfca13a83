import { expect, test } from "vitest";
import { RunRegistry } from "./run-registry.ts";

const facts = { model: "m", modelDigest: "d", about: { model: "m" }, attempt: 1 };
const reasonOf = async (runs: RunRegistry, requestId: string) => {
  let reason: unknown;
  await runs.track({ ...facts, requestId }, 1_000, async ({ signal }) => {
    reason = signal.aborted ? signal.reason : undefined;
  });
  return reason;
};

test("a request that was cancelled before its job came is stopped before its first step, others are not", async () => {
  const runs = new RunRegistry();
  expect(runs.cancel("gone")).toBe(0);
  expect(await reasonOf(runs, "gone")).toMatchObject({ code: "CANCELLED", retryable: false });
  expect(await reasonOf(runs, "other")).toBeUndefined();
});

test("of cancelled requests a bounded number is remembered, the last ones", async () => {
  const runs = new RunRegistry();
  for (let at = 0; at < 10_001; at += 1) runs.cancel(`r${at}`);
  expect(await reasonOf(runs, "r0")).toBeUndefined();
  expect(await reasonOf(runs, "r1")).toBeDefined();
  expect(await reasonOf(runs, "r10000")).toBeDefined();
});
