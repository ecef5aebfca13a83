/** Accepting a request: identity, model, door 1, and one commit. Nothing runs that is not in the ledger first. */
import { toBinary } from "@bufbuild/protobuf";
import { createRequestSecret, type RequestSecret, saltedDigest } from "@sallyport/attestation";
import { type ChatContent, ChatContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  AppError,
  type AuditPlaces,
  type Caller,
  type Committed,
  noteRequest,
  type TraceParent,
  type Tx,
} from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { insertHold } from "../db/holds.ts";
import { findByIdempotencyKey, forgetIdempotencyKey, insertRequest, type RequestRow } from "../db/ledger.ts";
import { checkClientReference, checkContent, checkIdempotencyKey, checkSize } from "../domain/content.ts";
import type { ServedModel } from "../domain/manifest.ts";
import { reservedTokens } from "../domain/quota.ts";
import { buildEvent, promptBody } from "../events.ts";
import { countEnded } from "../metrics.ts";
import { askDoor1, type Door1Verdict } from "./door1.ts";
import { draftRow } from "./draft.ts";
import { envelopeBytes, heldMessage, readJob } from "./messages.ts";
import { authorise, findModel } from "./permissions.ts";
import { reserve } from "./reserve.ts";
import { aboutOf, refuseOff } from "./switched-off.ts";

export interface ChatCall {
  readonly identity: Caller;
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
  /** Response fields about quotas. A repeated request took nothing of them. */
  readonly quota: Readonly<Record<string, string>>;
}

export async function admit(context: Context, call: ChatCall): Promise<Admitted> {
  const { identity, content } = call;
  refuseOff(context, { ...identity, model: content.model });
  checkContent(content);
  const bytes = toBinary(ChatContentSchema, content);
  checkSize(bytes.length);
  checkIdempotencyKey(call.idempotencyKey);
  checkClientReference(call.clientReference);
  // Before the model is looked for: the first outcome comes back also when its model is not offered any more.
  const earlier = await findEarlier(context, call, bytes);
  if (earlier) return { ...repeat(context, earlier), quota: {} };
  const model = findModel(context, content.model);
  authorise(context, identity, "chat", { model: model.name, tier: model.tier });
  const id = context.ids.uuid();
  noteRequest(id);
  const take = { tokens: tokensOf(context, content, bytes, model), images: 0 };
  const now = context.clock.now();
  const secret = createRequestSecret((count) => context.ids.bytes(count));
  const reserving = reserve(context, { id, identity, model: model.name, take });
  if (reserving.doubtful) await reserving.granted;
  // Asked meanwhile, and no longer than that makes sense: door 1 keeps nothing of what comes to nothing.
  const refused = new AbortController();
  reserving.granted.catch(() => refused.abort());
  const signal = AbortSignal.any([call.signal, refused.signal]);
  const asked = askDoor1(context, { id, identity, bytes, secret, model, signal });
  asked.catch(() => undefined);
  const quota = await reserving.granted;
  try {
    const admitted = await store(context, call, { id, now, model, bytes, secret, verdict: await asked });
    // What waits for a person, or was refused, is not at work.
    if (admitted.repeated || admitted.row.state !== "queued") context.quotas.settle(id);
    return { ...admitted, quota: admitted.repeated ? {} : quota };
  } catch (error) {
    context.quotas.settle(id);
    throw error;
  }
}

interface Judged {
  readonly id: string;
  readonly now: Date;
  readonly model: ServedModel;
  readonly bytes: Uint8Array;
  readonly secret: RequestSecret;
  readonly verdict: Door1Verdict;
}

async function store(context: Context, call: ChatCall, judged: Judged) {
  const { bytes, secret, verdict } = judged;
  const row = await draftRow(context, { ...call, ...judged });
  try {
    const pipelined = row.state !== "held";
    const stored = await context.outbox.commit((tx, places) => accept(tx, places, row, verdict), { pipelined });
    countEnded(stored);
    if (stored.state === "queued") {
      context.runs.remember(stored, secret);
      context.dispatcher.enter(stored);
    }
    return { row: stored, repeated: false };
  } catch (error) {
    const first = isDuplicate(error) ? await findEarlier(context, call, bytes) : undefined;
    if (first) return repeat(context, first);
    throw error;
  }
}

function tokensOf({ limits }: Context, { parameters }: ChatContent, bytes: Uint8Array, model: ServedModel): number {
  return reservedTokens({
    promptBytes: bytes.length,
    maxTokens: parameters?.maxTokens ?? 0,
    defaultMaxTokens: limits.defaultMaxTokens,
    contextTokens: model.contextTokens,
  });
}

/** Nothing of a request comes back while a switch about it holds. */
function repeat(context: Context, row: RequestRow): Omit<Admitted, "quota"> {
  refuseOff(context, aboutOf(row));
  return { row, repeated: true };
}

async function findEarlier(context: Context, call: ChatCall, bytes: Uint8Array): Promise<RequestRow | undefined> {
  const { db, runs, clock, limits } = context;
  const { idempotencyKey, identity } = call;
  if (!idempotencyKey) return undefined;
  const row = await db.transaction((tx) => findByIdempotencyKey(tx, identity, idempotencyKey));
  if (!row) return undefined;
  if (row.createdAt.getTime() + limits.idempotencyMs < clock.now().getTime()) {
    await db.transaction((tx) => forgetIdempotencyKey(tx, row.id));
    return undefined;
  }
  const { salt } = await runs.secretOf(row);
  if (saltedDigest(salt, bytes) !== row.sentDigest) {
    throw new AppError("ALREADY_EXISTS", "this idempotency key was used for another request; use a new key", {
      reason: "IDEMPOTENCY_KEY_REUSED",
    });
  }
  authorise(context, identity, "chat", { model: row.model, tier: row.modelTier });
  return row;
}

/** In one transaction: the ledger row, its record, and what the state asks for next. The row as stored. */
async function accept(
  tx: Tx,
  places: AuditPlaces,
  draft: RequestRow,
  verdict: Door1Verdict,
): Promise<Committed<RequestRow>> {
  const { state } = draft;
  const event = state === "blocked" ? "request.blocked" : state === "held" ? "request.held" : "request.accepted";
  const { findings, policyDigest, envelope, secondReviewer } = verdict;
  const built = buildEvent(draft, places.next(), {
    event,
    terminal: state === "blocked",
    decision: { stage: "door1", decision: verdict.decision, code: draft.code, findings, policyDigest },
    endedAt: draft.endedAt ?? undefined,
    attestations: [envelope],
    bodies: [promptBody(readJob(draft).prompt)],
    secretVault: draft.secretVault,
  });
  const row = { ...draft, leafHash: state === "blocked" ? built.leafHash : "" };
  if (!(await insertRequest(tx, row))) throw tookTooLong();
  const messages: Committed<RequestRow>["messages"] = [{ audit: { event, message: built.message } }];
  if (state === "held") {
    await insertHold(tx, row.id, { stage: "door1", attempt: 0, hold: envelopeBytes(envelope), content: null });
    messages.push(heldMessage(row, { stage: "door1", envelope, secondReviewer, now: row.createdAt }));
  }
  return { value: row, messages };
}

function tookTooLong(): AppError {
  const message = "this request took too long to be accepted, so it was not; send it again";
  return new AppError("UNAVAILABLE", message, { reason: "RESERVATION_LOST", retryAfterMs: 1_000 });
}

/** SQLSTATE 23505: another request with this idempotency key was first. */
function isDuplicate(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : error;
  return cause instanceof Error && "code" in cause && cause.code === "23505";
}
