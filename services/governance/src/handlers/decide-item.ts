import { fromBinary } from "@bufbuild/protobuf";
import { type Envelope, signStatement } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { ReviewDecisionMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type DecideItemRequest, ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { subjects } from "@sallyport/proto/subjects";
import { AppError, type CallerIdentity, countDecision, type OutboxMessage } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { personOf } from "../core/authorise.ts";
import { askNeighbour } from "../core/neighbours.ts";
import { itemView } from "../core/views.ts";
import { closeItem, insertDecision, passOn } from "../db/items.ts";
import { awaitsSecond, checkLease, checkOutcome, type Item, type ReviewOutcome } from "../domain/item.ts";
import { type Justification, readJustification } from "../domain/justification.ts";
import { reviewStatement } from "../domain/review-statement.ts";
import { auditEvent } from "../events.ts";
import { itemOf } from "./claim-item.ts";

const countersignDeadlineMs = 5_000;

/** One person's word on a held item. */
interface Word {
  caller: CallerIdentity;
  outcome: ReviewOutcome;
  why: Justification;
  policyDigest: string;
  now: Date;
}

/**
 * A denial closes the item; so does an allowance, unless a second person must agree. A release is signed here and
 * countersigned by post-moderation before anything is stored: without its hand nothing was decided.
 */
export async function decideItem(
  context: Context,
  caller: CallerIdentity,
  request: DecideItemRequest,
  signal: AbortSignal,
) {
  const outcome = outcomeOf(request.decision);
  const why = readJustification(request.justification);
  const item = await itemOf(context, caller, request.requestId, "review.decide");
  const now = context.clock.now();
  // The answer to a decision may get lost; asked again under the same lease, it is given again.
  const repeated = item.state === "decided" && item.leaseId === request.leaseId && item.holder === personOf(caller);
  if (repeated && item.decision === outcome) return { item: itemView(item, now) };
  checkLease(item, personOf(caller), request.leaseId, now);
  checkOutcome(item, outcome);
  const word: Word = { caller, outcome, why, policyDigest: context.policy.get().digest, now };
  const decided = awaitsSecond(item, outcome)
    ? await allowFirst(context, item, word)
    : await close(context, item, word, signal);
  countDecision("review", { decision: outcome, findings: item.findings });
  return { item: itemView(decided, now) };
}

function outcomeOf(decision: ReviewDecision): ReviewOutcome {
  if (decision === ReviewDecision.ALLOW) return "allow";
  if (decision === ReviewDecision.DENY) return "deny";
  throw new AppError("INVALID_ARGUMENT", "decision is allow or deny", {
    reason: "INVALID_FIELD",
    details: { field: "decision" },
  });
}

function allowFirst({ outbox }: Context, item: Item, word: Word): Promise<Item> {
  return outbox.commit(async (tx) => {
    const passed = await passOn(tx, item, word.now);
    if (!passed) throw leaseLost();
    await insertDecision(tx, item, decisionRow(word));
    return { value: passed, messages: [recordOf(item, word, { awaitsSecond: true })] };
  });
}

async function close(context: Context, item: Item, word: Word, signal: AbortSignal): Promise<Item> {
  const { caller, outcome, now } = word;
  const hold = fromBinary(EnvelopeSchema, item.hold);
  const first = item.state === "second_review" ? item.firstReviewedBy : undefined;
  const statement = reviewStatement({
    ...{ hold, outcome, now, policyDigest: word.policyDigest, justificationDigest: word.why.digest },
    ...(first === undefined ? { reviewer: caller.subject } : { reviewer: first, second: caller.subject }),
  });
  const review = signStatement(statement, context.reviewSigner);
  const countersign = outcome === "allow" ? await askCountersign(context, item, hold, review, signal) : undefined;
  return await context.outbox.commit(async (tx) => {
    const closed = await closeItem(tx, item, { outcome, by: caller.subject, at: now });
    if (!closed) throw leaseLost();
    await insertDecision(tx, item, decisionRow(word));
    const attestations = countersign ? [hold, review, countersign] : [hold, review];
    const record = recordOf(item, word, { awaitsSecond: false }, attestations);
    return { value: closed, messages: [record, decisionMessage(item, word, review, countersign)] };
  });
}

async function askCountersign(
  { postModerator }: Context,
  item: Item,
  hold: Envelope,
  review: Envelope,
  signal: AbortSignal,
) {
  const request = { requestId: item.requestId, hold, review };
  const options = { deadlineMs: countersignDeadlineMs, signal };
  const { countersign } = await askNeighbour("post-moderation", () => postModerator.countersign(request, options));
  if (countersign) return countersign;
  throw new AppError("UNAVAILABLE", "post-moderation did not countersign; try again", {
    reason: "COUNTERSIGN_MISSING",
  });
}

function decisionMessage(
  item: Item,
  { outcome, caller }: Word,
  review: Envelope,
  countersign?: Envelope,
): OutboxMessage {
  const { requestId, stage } = item;
  return {
    stream: "DECISIONS",
    subject: subjects.decision(requestId),
    msgId: `${requestId}.${stage}.decision`,
    schema: ReviewDecisionMessageSchema,
    message: { requestId, stage, allow: outcome === "allow", review, countersign, reviewer: caller.subject },
    confirm: true,
  };
}

function recordOf(item: Item, word: Word, detail: { awaitsSecond: boolean }, attestations?: Envelope[]): OutboxMessage {
  const { caller, outcome, why, policyDigest } = word;
  const code = outcome === "allow" ? "REVIEW_ALLOWED" : "REVIEW_DENIED";
  return auditEvent({
    event: "review.decided",
    actor: caller,
    item,
    decision: { stage: "review", decision: outcome, code, policyDigest },
    attestations,
    detail: { ...detail, lease: item.leaseId, justificationDigest: why.digest },
  });
}

function decisionRow({ caller, outcome, why, now }: Word) {
  return { reviewer: personOf(caller), decision: outcome, justification: why.text, digest: why.digest, at: now };
}

function leaseLost(): AppError {
  return new AppError("FAILED_PRECONDITION", "the lease ran out meanwhile; claim the item again", {
    reason: "LEASE_LOST",
  });
}
