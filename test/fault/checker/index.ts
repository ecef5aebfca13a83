/**
 * Holds the evidence of a run against the promises, without any part of the platform: what it does not find is as good as
 * what tests/checker show that it does find.
 */
import type { Evidence } from "../support/evidence.ts";
import { checkCovered } from "./covered.ts";
import { checkModels, checkReviews } from "./models-and-people.ts";
import { checkNothingLost } from "./nothing-lost.ts";
import { checkPaused } from "./paused.ts";
import { checkTamperEvident } from "./tamper-evident.ts";
import { checkTold } from "./told.ts";
import type { Violation } from "./violation.ts";

export { isSettled } from "./nothing-lost.ts";
export type { Violation } from "./violation.ts";

export function check(evidence: Evidence): Violation[] {
  return [
    ...checkCovered(evidence),
    ...checkTold(evidence),
    ...checkNothingLost(evidence),
    ...checkTamperEvident(evidence),
    ...checkModels(evidence),
    ...checkReviews(evidence),
    ...checkPaused(evidence),
  ];
}
