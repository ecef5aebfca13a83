/** Rows → the messages that callers see. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type ModelSchema, ModelState } from "@sallyport/proto/sallyport/governance/v1/models";
import { type ItemSchema, ItemState, ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { type Item, isLeased } from "./domain/item.ts";
import type { RegisteredModel } from "./domain/model.ts";

const modelStates = { imported: ModelState.IMPORTED, approved: ModelState.APPROVED, revoked: ModelState.REVOKED };
const itemStates = {
  open: ItemState.OPEN,
  second_review: ItemState.SECOND_REVIEW,
  decided: ItemState.DECIDED,
  expired: ItemState.EXPIRED,
};
const decisions = { "": ReviewDecision.UNSPECIFIED, allow: ReviewDecision.ALLOW, deny: ReviewDecision.DENY };

export function modelView(model: RegisteredModel): MessageInitShape<typeof ModelSchema> {
  const { digest, sizeBytes, state, importedBy, importedAt, decidedBy, decidedAt, ...metadata } = model;
  const { name, version, engine, licence, tier, contextTokens, card, remoteEndpoint, remoteModel } = metadata;
  return {
    metadata: { name, version, engine, digest, licence, tier, contextTokens, card, remoteEndpoint, remoteModel },
    digest,
    sizeBytes: BigInt(sizeBytes),
    state: modelStates[state],
    importedBy,
    importedAt: timestampFromDate(importedAt),
    decidedBy,
    ...(decidedAt && { decidedAt: timestampFromDate(decidedAt) }),
  };
}

export function itemView(item: Item, now: Date): MessageInitShape<typeof ItemSchema> {
  const { requestId, tenant, stage, model, findings, heldAt, expiresAt, needsSecond, decision, decidedBy } = item;
  const waiting = item.state === "open" || item.state === "second_review";
  const leased = waiting && isLeased(item, now);
  return {
    ...{ requestId, tenant, stage, model, decidedBy },
    findings: findings.map((finding) => ({ ...finding })),
    state: item.state === "open" && leased ? ItemState.CLAIMED : itemStates[item.state],
    ...(leased && { claimedBy: item.claimedBy, leaseExpiresAt: timestampFromDate(item.leaseExpiresAt!) }),
    heldAt: timestampFromDate(heldAt),
    expiresAt: timestampFromDate(expiresAt),
    needsSecondReviewer: needsSecond,
    decision: decisions[decision],
  };
}
