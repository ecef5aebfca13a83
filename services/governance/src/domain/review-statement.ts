/** What governance signs for a person: stage review, over the same bytes as the hold that it answers. */
import {
  createStatement,
  decodeStatement,
  type Envelope,
  envelopeDigest,
  type Statement,
  subjectOf,
} from "@sallyport/attestation";
import type { ReviewOutcome } from "./item.ts";

const reviewTtlMs = 24 * 3_600_000;

export interface ReviewFacts {
  hold: Envelope;
  outcome: ReviewOutcome;
  /** Names as the audit log shows them. */
  reviewer: string;
  second?: string;
  justificationDigest: string;
  policyDigest: string;
  now: Date;
}

export function reviewStatement({
  hold,
  outcome,
  reviewer,
  second,
  justificationDigest,
  policyDigest,
  now,
}: ReviewFacts): Statement {
  const held = decodeStatement(hold.payload);
  const { requestId, attempt, tenant, modality, modelDigest, final } = held.predicate;
  return createStatement(subjectOf(held), {
    ...{ requestId, attempt, tenant, modality, modelDigest, policyDigest, final },
    stage: "review",
    decision: outcome,
    findings: [],
    index: 0,
    prev: envelopeDigest(hold),
    issuedAt: now.toISOString(),
    expiresAt: new Date(now.getTime() + reviewTtlMs).toISOString(),
    reviewer: { subject: reviewer, justificationDigest, ...(second !== undefined && { secondSubject: second }) },
  });
}
