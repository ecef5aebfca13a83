/** An item of the review queue: who may take, read and decide it, and when. */
import type { Finding } from "@sallyport/attestation";
import { AppError } from "@sallyport/runtime";

export type HoldStage = "door1" | "door2";
export type StoredState = "open" | "second_review" | "decided" | "expired";
export type ReviewOutcome = "allow" | "deny";

export interface Item {
  requestId: string;
  stage: HoldStage;
  tenant: string;
  subject: string;
  model: string;
  hold: Uint8Array;
  findings: readonly Finding[];
  heldAt: Date;
  expiresAt: Date;
  needsSecond: boolean;
  state: StoredState;
  leaseId: string;
  /** "<issuer> <subject>". */
  holder: string;
  claimedBy: string;
  leaseExpiresAt: Date | null;
  firstReviewer: string;
  firstReviewedBy: string;
  decision: "" | ReviewOutcome;
  decidedBy: string;
  decidedAt: Date | null;
}

/** The gateway blocks at `expiresAt`; a decision made just before it would come too late to count. */
const decideMarginMs = 5_000;

export function isLeased(item: Item, now: Date): boolean {
  return item.leaseExpiresAt !== null && now.getTime() < item.leaseExpiresAt.getTime();
}

/** Throws FAILED_PRECONDITION (ITEM_CLOSED, ITEM_CLAIMED) or PERMISSION_DENIED (SAME_PERSON). */
export function checkClaim(item: Item, person: string, now: Date): void {
  checkOpen(item, now);
  if (item.state === "second_review" && item.firstReviewer === person) {
    throw new AppError("PERMISSION_DENIED", "a second person has to decide this item", { reason: "SAME_PERSON" });
  }
  if (isLeased(item, now) && item.holder !== person) {
    throw new AppError("FAILED_PRECONDITION", "somebody else has this item now; try again later", {
      reason: "ITEM_CLAIMED",
    });
  }
}

/** Throws FAILED_PRECONDITION (ITEM_CLOSED, LEASE_LOST): the caller holds the lease, now. */
export function checkLease(item: Item, person: string, leaseId: string, now: Date): void {
  checkOpen(item, now);
  if (leaseId !== "" && item.leaseId === leaseId && item.holder === person && isLeased(item, now)) return;
  throw new AppError("FAILED_PRECONDITION", "you do not hold a lease on this item; claim it first", {
    reason: "LEASE_LOST",
  });
}

/** Throws PERMISSION_DENIED (HARD_STOP): nobody releases that; post-moderation would refuse it too. */
export function checkOutcome(item: Item, outcome: ReviewOutcome): void {
  if (outcome === "deny" || !item.findings.some(({ hardStop }) => hardStop)) return;
  throw new AppError("PERMISSION_DENIED", "a hard stop cannot be released by anybody", { reason: "HARD_STOP" });
}

/** Allowed once, and one more person must agree. A denial needs nobody else. */
export function awaitsSecond(item: Item, outcome: ReviewOutcome): boolean {
  return outcome === "allow" && item.needsSecond && item.state === "open";
}

function checkOpen(item: Item, now: Date): void {
  const closed = item.state === "decided" || item.state === "expired";
  if (!closed && now.getTime() < item.expiresAt.getTime() - decideMarginMs) return;
  const what = item.state === "decided" ? "decided already" : "past its time";
  throw new AppError("FAILED_PRECONDITION", `the item is ${what}`, { reason: "ITEM_CLOSED" });
}
