/** What the gateway tells the audit log. A record is made here, whole, so that its leaf hash is known before the commit. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { canonicalBytes, type Envelope, encodeEnvelopeJson, type Finding } from "@sallyport/attestation";
import {
  type AuditEvent,
  AuditEventSchema,
  BodyKind,
  type VaultBodySchema,
} from "@sallyport/proto/sallyport/audit/v1/audit";
import type { AuditPlace, CallerIdentity } from "@sallyport/runtime";
import { leafHash } from "@sallyport/tlog";
import type { RequestRow } from "./db/ledger.ts";

export type GatewayEvent =
  | "request.accepted"
  | "request.blocked"
  | "request.held"
  | "request.released"
  | "request.failed"
  | "request.cancelled"
  | "moderation.checked";

export interface DecisionFacts {
  stage: string;
  decision: string;
  code: string;
  findings: readonly Finding[];
  policyDigest: string;
}

export interface EventFacts {
  event: GatewayEvent;
  terminal: boolean;
  decision?: DecisionFacts;
  /** Salted digest of the output, when there is one. */
  outputDigest?: string;
  endedAt?: Date;
  /** The admission, the claim and the last envelope: its `prev` chain commits to every window. A leaf has 65,535 bytes at most. */
  attestations?: readonly Envelope[];
  bodies?: readonly VaultBodyInit[];
  /** Sent with the first event of a request that has bodies. */
  secretVault?: string;
  detail?: Readonly<Record<string, string | number | boolean>>;
}
export type VaultBodyInit = MessageInitShape<typeof VaultBodySchema>;

export interface BuiltEvent {
  message: AuditEvent;
  /** Hex RFC 6962 leaf hash of the record. */
  leafHash: string;
}

export function buildEvent(request: RequestRow, place: AuditPlace, facts: EventFacts): BuiltEvent {
  const record = canonicalBytes({
    v: 1,
    ...place,
    event: facts.event,
    request: requestFacts(request),
    actor: { tenant: request.tenant, subject: request.subject, issuer: request.issuer, credential: request.credential },
    ...(facts.decision && { decision: { ...facts.decision } }),
    digests: { request: request.requestDigest, ...(facts.outputDigest && { output: facts.outputDigest }) },
    times: {
      acceptedAt: request.createdAt.toISOString(),
      ...(facts.endedAt && { endedAt: facts.endedAt.toISOString() }),
    },
    ...(facts.attestations && {
      attestations: facts.attestations.map((envelope) => JSON.parse(encodeEnvelopeJson(envelope))),
    }),
    ...(facts.detail && { detail: facts.detail }),
    trace: { traceId: request.traceId },
  });
  const message = create(AuditEventSchema, {
    producer: place.producer,
    epoch: place.epoch,
    sequence: BigInt(place.sequence),
    record,
    bodies: [...(facts.bodies ?? [])],
    vaultSecret: facts.secretVault ? { service: "audit", jwe: facts.secretVault } : undefined,
    requestId: request.id,
    terminal: facts.terminal,
  });
  return { message, leafHash: Buffer.from(leafHash(record)).toString("hex") };
}

/** A judgement of free-standing texts: what was decided, for whom; of the texts only how many. */
export function buildModerationEvent(place: AuditPlace, facts: ModerationFacts): AuditEvent {
  const { identity, results, policyDigest, modality, traceId } = facts;
  const { tenant, subject, issuer, credential } = identity;
  const record = canonicalBytes({
    v: 1,
    ...place,
    event: "moderation.checked",
    actor: { tenant, subject, issuer, credential },
    detail: { modality, policyDigest, results },
    trace: { traceId },
  });
  const { producer, epoch, sequence } = place;
  return create(AuditEventSchema, { producer, epoch, sequence: BigInt(sequence), record });
}

export interface ModerationFacts {
  readonly identity: CallerIdentity;
  readonly modality: string;
  readonly policyDigest: string;
  readonly results: readonly { decision: string; codes: readonly string[] }[];
  readonly traceId: string;
}

export function promptBody(ciphertext: Uint8Array): VaultBodyInit {
  return { kind: BodyKind.PROMPT, ciphertext, attempt: 0, index: 0, context: "prompt" };
}

export function windowBody(ciphertext: Uint8Array, attempt: number, index: number): VaultBodyInit {
  return { kind: BodyKind.OUTPUT, ciphertext, attempt, index, context: "verdict" };
}

export function heldOutputBody(ciphertext: Uint8Array, attempt: number): VaultBodyInit {
  return { kind: BodyKind.OUTPUT, ciphertext, attempt, index: 0, context: "output" };
}

function requestFacts(request: RequestRow) {
  return {
    id: request.id,
    attempt: request.attempt,
    operation: request.operation,
    modality: "text",
    model: request.model,
    modelDigest: request.modelDigest,
    ...(request.clientReference && { clientReference: request.clientReference }),
  };
}
