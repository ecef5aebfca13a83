/** The ledger row of a request that door 1 has judged: its bodies sealed, its secret wrapped, its first state chosen. */
import { create } from "@bufbuild/protobuf";
import { type RequestSecret, saltedDigest, seal, wrapSecret } from "@sallyport/attestation";
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type Caller, formatTraceparent, type TraceParent } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import type { RequestRow } from "../db/ledger.ts";
import type { ServedModel } from "../domain/manifest.ts";
import { outcomeMessage, type PolicyCodes } from "../domain/outcomes.ts";
import type { Door1Verdict } from "./door1.ts";
import { jobBytesOf } from "./messages.ts";

export interface Draft {
  readonly id: string;
  readonly identity: Caller;
  readonly model: ServedModel;
  readonly secret: RequestSecret;
  readonly verdict: Door1Verdict;
  readonly now: Date;
  /** What the caller sent; what door 1 let in is in its verdict. */
  readonly bytes: Uint8Array;
  readonly idempotencyKey: string;
  readonly clientReference: string;
  readonly trace: TraceParent;
  /** Undefined: the platform's own deadline. */
  readonly deadlineAt?: Date;
}

export async function draftRow(context: Context, draft: Draft): Promise<RequestRow> {
  const { id, identity, model, secret, verdict, now, bytes, idempotencyKey } = draft;
  const recipients = ["inference-worker", "post-moderator", "audit", "gateway"] as const;
  const wrapped = wrapSecret(
    secret,
    recipients.map((service) => context.trust.encryptionKey(service)),
    id,
  );
  const jweOf = (service: string) => wrapped.find((entry) => entry.service === service)!.jwe;
  return {
    ...stateAfter(verdict, now, context.codes()),
    id,
    ...identity,
    credentialRef: identity.credentialRef ?? "",
    groups: [...identity.groups],
    operation: "chat",
    model: model.name,
    modelDigest: model.digest,
    modelTier: model.tier,
    gatewayId: context.config.gatewayId,
    clientReference: draft.clientReference,
    idempotencyKey: idempotencyKey || null,
    traceId: draft.trace.traceId,
    traceparent: formatTraceparent(draft.trace),
    sentDigest: saltedDigest(secret.salt, bytes),
    requestDigest: saltedDigest(secret.salt, verdict.content),
    secretGateway: jweOf("gateway"),
    secretVault: jweOf("audit"),
    job: jobBytesOf(draftJob(context, draft, jweOf)),
    claim: null,
    windowsReleased: 0,
    findings: [...verdict.findings],
    policyDigest: verdict.policyDigest,
    leafHash: "",
    createdAt: now,
    deadlineAt: deadlineOf(context, draft),
    progressAt: null,
  };
}

/** Less attempt and deadline, which change. */
function draftJob({ config, ids }: Context, draft: Draft, jweOf: (service: string) => string) {
  const { id, identity, model, secret, verdict } = draft;
  const place = { requestId: id, kind: "prompt" as const, attempt: 0, index: 0 };
  return create(JobSchema, {
    requestId: id,
    tenant: identity.tenant,
    gatewayId: config.gatewayId,
    model: model.name,
    modelDigest: model.digest,
    modelTier: model.tier,
    requestDigest: saltedDigest(secret.salt, verdict.content),
    prompt: seal(secret, place, verdict.content, (count) => ids.bytes(count)),
    secrets: ["inference-worker", "post-moderator"].map((service) => ({ service, jwe: jweOf(service) })),
    admission: { door1: verdict.envelope },
    identity: { ...identity, groups: [...identity.groups] },
  });
}

/** With an idempotency key the caller may come back: then its call's deadline is not the request's. */
function deadlineOf({ limits }: Context, { now, deadlineAt, idempotencyKey }: Draft): Date {
  const latest = now.getTime() + limits.requestDeadlineMs;
  const asked = idempotencyKey ? undefined : deadlineAt?.getTime();
  return new Date(Math.min(latest, asked ?? latest));
}

function stateAfter({ decision, findings, holdMs }: Door1Verdict, now: Date, codes: PolicyCodes) {
  const code = findings[0]?.code ?? "";
  const nothing = { attempt: 0, holdStage: null, holdExpiresAt: null, queuedAt: null, endedAt: null };
  if (decision === "deny") {
    const message = outcomeMessage(code, codes, "BLOCKED");
    return { ...nothing, state: "blocked" as const, code: code || "BLOCKED", message, endedAt: now };
  }
  if (decision === "hold") {
    const told = { code: code || "HELD", message: outcomeMessage(code, codes, "HELD") };
    const holdExpiresAt = new Date(now.getTime() + holdMs);
    return { ...nothing, ...told, state: "held" as const, holdStage: "door1" as const, holdExpiresAt };
  }
  return { ...nothing, state: "queued" as const, code: "", message: "", attempt: 1, queuedAt: now };
}
