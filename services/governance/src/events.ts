/** What governance tells the audit log. */
import { canonicalBytes, type Envelope, encodeEnvelopeJson, type Json } from "@sallyport/attestation";
import type { AuditMessage, CallerIdentity } from "@sallyport/runtime";
import type { Item } from "./domain/item.ts";

export type GovernanceEvent =
  | "model.imported"
  | "model.approved"
  | "model.revoked"
  | "policy.published"
  | "review.claimed"
  | "review.read"
  | "review.decided"
  | "switch.paused"
  | "switch.resume-asked"
  | "switch.resumed"
  | "switch.expired"
  | "switch.break-glass"
  | "credential.created"
  | "credential.rotated"
  | "credential.revoked"
  | "credential.bound"
  | "credential.unbound";

export interface EventFacts {
  event: GovernanceEvent;
  /** Absent: governance itself. */
  actor?: CallerIdentity;
  item?: Item;
  /** Whose record it is, where that is neither the item's nor the actor's tenant. */
  tenant?: string;
  decision?: { stage: string; decision: string; code: string; policyDigest?: string };
  attestations?: readonly Envelope[];
  detail?: Readonly<Record<string, Json>>;
}

export function auditEvent(facts: EventFacts): AuditMessage {
  const { event, actor, item, decision, attestations, detail, tenant = item?.tenant } = facts;
  const build: Extract<AuditMessage["audit"], { build: unknown }>["build"] = (place) => {
    const record = {
      v: 1,
      event,
      ...place,
      ...(tenant !== undefined && { tenant }),
      ...(item && { request: { id: item.requestId, modality: "text", model: item.model } }),
      ...(actor && { actor: actorOf(actor) }),
      ...(decision && { decision: { ...decision, findings: (item?.findings ?? []) as unknown as Json[] } }),
      ...(attestations && { attestations: attestations.map((envelope) => JSON.parse(encodeEnvelopeJson(envelope))) }),
      ...(detail && { detail: { ...detail, ...(item && { stage: item.stage }) } }),
    };
    return { record: canonicalBytes(record as unknown as Json), requestId: item?.requestId ?? "", terminal: false };
  };
  return { audit: { event, build } };
}

function actorOf({ tenant, subject, issuer, credential }: CallerIdentity) {
  return { tenant, subject, issuer, credential };
}
