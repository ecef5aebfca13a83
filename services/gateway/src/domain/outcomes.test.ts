import { expect, test } from "vitest";
import { boundedHoldMs } from "./hold-time.ts";
import { failureCode, outcomeMessage, outcomes } from "./outcomes.ts";

test("policy's words come first, then ours, then the general ones", () => {
  const codes = { RULE_X: { message: "Not that.", whatToDo: "Ask otherwise." } };
  expect(outcomeMessage("RULE_X", codes, "BLOCKED")).toBe("Not that. Ask otherwise.");
  expect(outcomeMessage("CANCELLED", codes, "FAILED")).toBe(outcomes.CANCELLED);
  expect(outcomeMessage("constructor", codes, "FAILED")).toBe(outcomes.FAILED);
});

test("of a failure's code only known ones pass: no text from inside the chamber travels as one", () => {
  expect(failureCode("ENGINE_TIMEOUT")).toBe("ENGINE_TIMEOUT");
  for (const code of ["", "toString", "The model says hello", "X".repeat(10_000)])
    expect(failureCode(code)).toBe("FAILED");
});

test("a hold waits a minute at least and less than the day for which door 1's word is good", () => {
  expect([undefined, 0n, -5n].map(boundedHoldMs)).toEqual([60_000, 60_000, 60_000]);
  expect(boundedHoldMs(3_600_000n)).toBe(3_600_000);
  expect(boundedHoldMs(2n ** 62n)).toBe(23 * 3_600_000);
});
