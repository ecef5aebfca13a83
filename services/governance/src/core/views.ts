/** Rows → the messages that callers see. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CertificateSchema, TokenSchema } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { type ModelSchema, ModelState } from "@sallyport/proto/sallyport/governance/v1/models";
import { type ItemSchema, ItemState, ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchKind, type SwitchSchema, SwitchState } from "@sallyport/proto/sallyport/governance/v1/switches";
import { switchTargetMessage } from "@sallyport/runtime";
import type { CertificateRow, TokenRow } from "../domain/credential.ts";
import { type Item, isLeased } from "../domain/item.ts";
import type { RegisteredModel } from "../domain/model.ts";
import type { SwitchRow } from "../domain/switch.ts";

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

const switchStates = {
  active: SwitchState.ACTIVE,
  resume_asked: SwitchState.RESUME_ASKED,
  lifted: SwitchState.LIFTED,
  expired: SwitchState.EXPIRED,
};
const switchKinds = { pause: SwitchKind.PAUSE, ban: SwitchKind.BAN, revocation: SwitchKind.REVOCATION };

export function switchView(row: SwitchRow): MessageInitShape<typeof SwitchSchema> {
  const { id, setBy, resumeAskedBy, liftedBy, breakGlass, ofPlatform, expiresAt, endedAt } = row;
  return {
    ...{ id, setBy, resumeAskedBy, liftedBy, breakGlass, ofPlatform },
    target: { target: switchTargetMessage(row.target) },
    kind: switchKinds[row.kind],
    state: switchStates[row.state],
    setAt: timestampFromDate(row.setAt),
    ...(expiresAt && { expiresAt: timestampFromDate(expiresAt) }),
    ...(endedAt && { endedAt: timestampFromDate(endedAt) }),
  };
}

export function tokenView(row: TokenRow): MessageInitShape<typeof TokenSchema> {
  const { id, name, tenant, issuer, subject, groups, createdBy, createdAt, expiresAt, revokedAt } = row;
  return {
    ...{ id, name, tenant, issuer, subject, createdBy, groups: [...groups] },
    createdAt: timestampFromDate(createdAt),
    expiresAt: timestampFromDate(expiresAt),
    ...(revokedAt && { revokedAt: timestampFromDate(revokedAt) }),
  };
}

export function certificateView(row: CertificateRow): MessageInitShape<typeof CertificateSchema> {
  const { id, spiffeId, subjectDn, tenant, subject, groups, createdBy, createdAt, expiresAt, unboundAt } = row;
  return {
    ...{ id, tenant, subject, createdBy, groups: [...groups] },
    match: spiffeId !== null ? { case: "spiffeId", value: spiffeId } : { case: "subjectDn", value: subjectDn ?? "" },
    createdAt: timestampFromDate(createdAt),
    ...(expiresAt && { expiresAt: timestampFromDate(expiresAt) }),
    ...(unboundAt && { unboundAt: timestampFromDate(unboundAt) }),
  };
}
