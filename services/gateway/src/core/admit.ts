/** Accepting a request: identity, model, door 1, and one commit. Nothing runs that is not in the ledger first. */
import { create, toBinary } from "@bufbuild/protobuf";
import { createRequestSecret, type RequestSecret, saltedDigest, seal, wrapSecret } from "@sallyport/attestation";
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ChatContent, ChatContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  AppError,
  type AuditPlaces,
  type CallerIdentity,
  type Committed,
  type TraceParent,
  type Tx,
} from "@sallyport/runtime";
import type { Context } from "../context.ts";
import {
  findByIdempotencyKey,
  forgetIdempotencyKey,
  insertHold,
  insertRequest,
  type RequestRow,
} from "../db/ledger.ts";
import { checkClientReference, checkContent, checkIdempotencyKey } from "../domain/content.ts";
import type { ServedModel } from "../domain/manifest.ts";
import { outcomeMessage, type PolicyCodes } from "../domain/outcomes.ts";
import { buildEvent, promptBody } from "../events.ts";
import { askDoor1, type Door1Verdict } from "./door1.ts";
import { envelopeBytes, heldMessage, jobBytesOf, jobMessage, readJob } from "./messages.ts";
import { authorize, findModel } from "./permissions.ts";

export interface ChatCall {
  readonly identity: CallerIdentity;
  readonly content: ChatContent;
  readonly idempotencyKey: string;
  readonly clientReference: string;
  readonly trace: TraceParent;
  /** Undefined: the platform's own deadline. */
  readonly deadlineAt?: Date;
  readonly signal: AbortSignal;
}

export interface Admitted {
  readonly row: RequestRow;
  /** An idempotency key brought back an earlier request. */
  readonly repeated: boolean;
}

export async function admit(context: Context, call: ChatCall): Promise<Admitted> {
  const bytes = toBinary(ChatContentSchema, call.content);
  checkContent(call.content, bytes.length);
  checkIdempotencyKey(call.idempotencyKey);
  checkClientReference(call.clientReference);
  const model = findModel(context, call.content.model);
  authorize(context, call.identity, "chat", { model: model.name, tier: model.tier });
  const earlier = await findEarlier(context, call, bytes);
  if (earlier) return { row: earlier, repeated: true };

  const now = context.clock.now();
  const id = context.ids.uuid();
  const secret = createRequestSecret((count) => context.ids.bytes(count));
  const verdict = await askDoor1(context, {
    id,
    identity: call.identity,
    bytes,
    secret,
    model,
    signal: call.signal,
    now,
  });
  const row = await draftRow(context, { call, model, id, secret, verdict, now, bytes });
  try {
    await context.outbox.commit((tx, places) => accept(context, tx, places, row, verdict));
  } catch (error) {
    const first = isDuplicate(error) ? await findEarlier(context, call, bytes) : undefined;
    if (first) return { row: first, repeated: true };
    throw error;
  }
  if (row.state === "queued") context.runs.remember(row, secret);
  return { row, repeated: false };
}

async function findEarlier(
  { db, runs, clock, limits }: Context,
  call: ChatCall,
  bytes: Uint8Array,
): Promise<RequestRow | undefined> {
  const { idempotencyKey, identity } = call;
  if (!idempotencyKey) return undefined;
  const row = await db.transaction((tx) => findByIdempotencyKey(tx, identity.tenant, identity.subject, idempotencyKey));
  if (!row) return undefined;
  if (row.createdAt.getTime() + limits.idempotencyMs < clock.now().getTime()) {
    await db.transaction((tx) => forgetIdempotencyKey(tx, row.id));
    return undefined;
  }
  const { salt } = await runs.secretOf(row);
  if (saltedDigest(salt, bytes) === row.sentDigest) return row;
  throw new AppError("ALREADY_EXISTS", "this idempotency key was used for another request; use a new key", {
    reason: "IDEMPOTENCY_KEY_REUSED",
  });
}

interface Draft {
  readonly call: ChatCall;
  readonly model: ServedModel;
  readonly id: string;
  readonly secret: RequestSecret;
  readonly verdict: Door1Verdict;
  readonly now: Date;
  readonly bytes: Uint8Array;
}

async function draftRow(
  context: Context,
  { call, model, id, secret, verdict, now, bytes }: Draft,
): Promise<RequestRow> {
  const { trust, ids, config, limits } = context;
  const accepted = verdict.content;
  const requestDigest = saltedDigest(secret.salt, accepted);
  const recipients = ["inference-worker", "post-moderator", "audit", "gateway"].map((service) =>
    trust.encryptionKey(service),
  );
  const wrapped = await wrapSecret(secret, recipients, id);
  const jweOf = (service: string) => wrapped.find((entry) => entry.service === service)!.jwe;
  const job = create(JobSchema, {
    requestId: id,
    tenant: call.identity.tenant,
    gatewayId: config.gatewayId,
    model: model.name,
    modelDigest: model.digest,
    modelTier: model.tier,
    requestDigest,
    prompt: seal(secret, { requestId: id, kind: "prompt", attempt: 0, index: 0 }, accepted, (count) =>
      ids.bytes(count),
    ),
    secrets: ["inference-worker", "post-moderator"].map((service) => ({ service, jwe: jweOf(service) })),
    admission: { door1: verdict.envelope },
    identity: { ...call.identity, groups: [...call.identity.groups] },
  });
  const latest = now.getTime() + limits.requestDeadlineMs;
  return {
    ...stateAfter(verdict, now, context.codes()),
    id,
    ...call.identity,
    groups: [...call.identity.groups],
    operation: "chat",
    model: model.name,
    modelDigest: model.digest,
    modelTier: model.tier,
    gatewayId: config.gatewayId,
    clientReference: call.clientReference,
    idempotencyKey: call.idempotencyKey || null,
    traceId: call.trace.traceId,
    sentDigest: saltedDigest(secret.salt, bytes),
    requestDigest,
    secretGateway: jweOf("gateway"),
    secretVault: jweOf("audit"),
    job: jobBytesOf(job),
    claim: null,
    windowsReleased: 0,
    findings: [...verdict.findings],
    policyDigest: verdict.policyDigest,
    leafHash: "",
    createdAt: now,
    deadlineAt: new Date(Math.min(latest, call.deadlineAt?.getTime() ?? latest)),
    progressAt: null,
  };
}

function stateAfter(verdict: Door1Verdict, now: Date, codes: PolicyCodes) {
  const code = verdict.findings[0]?.code ?? "";
  const nothing = {
    attempt: 0,
    code: "",
    message: "",
    holdStage: null,
    holdExpiresAt: null,
    dispatchedAt: null,
    endedAt: null,
  };
  if (verdict.decision === "deny")
    return {
      ...nothing,
      state: "blocked" as const,
      code: code || "BLOCKED",
      message: outcomeMessage(code, codes, "BLOCKED"),
      endedAt: now,
    };
  if (verdict.decision === "hold") {
    const holdExpiresAt = new Date(now.getTime() + verdict.holdMs);
    return {
      ...nothing,
      state: "held" as const,
      code: code || "HELD",
      message: outcomeMessage(code, codes, "HELD"),
      holdStage: "door1" as const,
      holdExpiresAt,
    };
  }
  return { ...nothing, state: "queued" as const, attempt: 1, dispatchedAt: now };
}

/** In one transaction: the ledger row, its record, and what the state asks for next. Fills in the row's leaf hash. */
async function accept(
  context: Context,
  tx: Tx,
  places: AuditPlaces,
  row: RequestRow,
  verdict: Door1Verdict,
): Promise<Committed<void>> {
  const event =
    row.state === "blocked" ? "request.blocked" : row.state === "held" ? "request.held" : "request.accepted";
  const { findings, policyDigest } = verdict;
  const built = buildEvent(row, places.next(), {
    event,
    terminal: row.state === "blocked",
    decision: { stage: "door1", decision: verdict.decision, code: row.code, findings, policyDigest },
    endedAt: row.endedAt ?? undefined,
    attestations: [verdict.envelope],
    bodies: [promptBody(readJob(row).prompt)],
    secretVault: row.secretVault,
  });
  row.leafHash = row.state === "blocked" ? built.leafHash : "";
  await insertRequest(tx, row);
  const messages: Committed<void>["messages"] = [{ audit: { event, message: built.message } }];
  if (row.state === "queued") messages.push(jobMessage(row));
  if (row.state === "held") {
    await insertHold(tx, row.id, { stage: "door1", attempt: 0, hold: envelopeBytes(verdict.envelope), content: null });
    messages.push(
      heldMessage(row, {
        stage: "door1",
        envelope: verdict.envelope,
        secondReviewer: verdict.secondReviewer,
        now: context.clock.now(),
      }),
    );
  }
  return { value: undefined, messages };
}

/** SQLSTATE 23505: another request with this idempotency key was first. */
function isDuplicate(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : error;
  return cause instanceof Error && "code" in cause && cause.code === "23505";
}
