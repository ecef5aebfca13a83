/** A person's decision on a held request: released or let in only with review and countersignature, verified here. */
import { create } from "@bufbuild/protobuf";
import {
  envelopeDigest,
  open,
  saltedDigest,
  type TicketContext,
  TicketVerifier,
  verifyLink,
} from "@sallyport/attestation";
import { AdmissionSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import type { ReviewDecisionMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import { AppError, type Committed, type Tx } from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { type Ending, endRequest } from "../../core/endings.ts";
import { envelopeBytes, jobBytesOf, readEnvelope, readJob } from "../../core/messages.ts";
import { decideHold, findHold, findRequest, type HoldRow, type RequestRow } from "../../db/ledger.ts";
import { outcomes } from "../../domain/outcomes.ts";
import { buildEvent } from "../../events.ts";

export async function applyDecision(context: Context, message: ReviewDecisionMessage): Promise<void> {
  const stage = message.stage === "door1" || message.stage === "door2" ? message.stage : undefined;
  if (!stage || !message.review)
    throw new AppError("INVALID_ARGUMENT", "a decision without stage or review", { reason: "DECISION_INVALID" });
  const { row, held } = await context.db.transaction(async (tx) => ({
    row: await findRequest(tx, message.requestId),
    held: await findHold(tx, message.requestId, stage),
  }));
  // Expired, cancelled or decided before: the ledger has spoken, and a late decision changes nothing.
  if (!row || !held || row.state !== "held" || row.holdStage !== stage || held.allowed !== null) return;
  const decided = message.allow ? await allow(context, message, row, held) : await deny(context, message, row, held);
  if (decided) context.moves.announce(decided);
}

async function deny({ outbox, clock, trust }: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const hold = readEnvelope(held.hold);
  const review = message.review!;
  // Also a refusal must come from governance: otherwise anybody on the bus could end a held request.
  verifyLink(
    review,
    { trust, requestId: row.id, tenant: row.tenant, modality: "text", clock: () => clock.now() },
    {
      stage: "review",
      attempt: held.attempt,
      decisions: ["deny"],
      subject: { name: held.stage === "door1" ? "request" : "output" },
      places: [{ index: 0, prev: envelopeDigest(hold) }],
      mayHardStop: true,
    },
  );
  return outbox.commit(async (tx, places) => {
    const first = await decideHold(tx, row.id, {
      stage: held.stage,
      review: envelopeBytes(review),
      countersign: null,
      allowed: false,
    });
    if (!first) return nothing;
    const ending: Ending = {
      state: "blocked",
      code: "REVIEW_DENIED",
      message: outcomes.REVIEW_DENIED,
      stage: "review",
      findings: row.findings,
      attestations: [hold, review],
    };
    return endRequest(tx, places, row, ending, clock.now());
  });
}

async function allow(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  if (!message.countersign)
    throw new AppError("INVALID_ARGUMENT", "a release without its countersignature", { reason: "DECISION_INVALID" });
  return held.stage === "door1" ? letIn(context, message, row, held) : letOut(context, message, row, held);
}

/** A released prompt goes to the queue as a first attempt, with the whole admission. */
async function letIn(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const { outbox, clock, limits, moves, runs } = context;
  const [review, countersign] = [message.review!, message.countersign!];
  const job = readJob(row);
  const { verifier } = await ticketOf(context, row, row.attempt + 1);
  verifier.admit(job.admission!.door1!, { review, countersign });
  job.admission = create(AdmissionSchema, { door1: job.admission!.door1, review, countersign });
  const deadlineAt = new Date(clock.now().getTime() + limits.requestDeadlineMs);
  runs.drop(row.id);
  return outbox.commit(async (tx, places) => {
    if (!(await recordRelease(tx, row, held, message))) return nothing;
    const queued = await moves.requeueIn(tx, row, jobBytesOf(job), row.attempt + 1, deadlineAt);
    if (!queued.value) return nothing;
    const { findings, policyDigest, code } = row;
    const { message: event } = buildEvent(queued.value, places.next(), {
      event: "request.accepted",
      terminal: false,
      decision: { stage: "review", decision: "allow", code, findings, policyDigest },
      attestations: [job.admission!.door1!, review, countersign],
    });
    return { ...queued, messages: [{ audit: { event: "request.accepted", message: event } }, ...queued.messages] };
  });
}

/** A released output ends the request: fetched with GetRequest. */
async function letOut(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const { outbox, clock, runs } = context;
  const [review, countersign, hold] = [message.review!, message.countersign!, readEnvelope(held.hold)];
  const secret = await runs.secretOf(row);
  const output = open(secret, { requestId: row.id, kind: "output", attempt: held.attempt, index: 0 }, held.content!);
  const { verifier, context: ticket } = await ticketOf(context, row, held.attempt);
  // Admission and claim were in time when they were committed; a person may take hours.
  ticket.at = "issue";
  const { door1, review: promptReview, countersign: promptCountersign } = readJob(row).admission!;
  verifier.admit(
    door1!,
    promptReview && promptCountersign ? { review: promptReview, countersign: promptCountersign } : undefined,
  );
  const claim = readEnvelope(row.claim!);
  verifier.claim(claim);
  ticket.at = undefined;
  verifier.heldOutput(hold, review, countersign, output);
  return outbox.commit(async (tx, places) => {
    if (!(await recordRelease(tx, row, held, message))) return nothing;
    const attestations = [door1!, claim, hold, review, countersign];
    const outputDigest = saltedDigest(secret.salt, output);
    return endRequest(
      tx,
      places,
      row,
      { state: "released", code: "", message: "", stage: "review", outputDigest, attestations },
      clock.now(),
    );
  });
}

/** `context.at` as "issue" judges what was committed earlier as of its own time; without it everything must be in time now. */
async function ticketOf({ trust, clock, runs, approvedModel }: Context, row: RequestRow, attempt: number) {
  const { salt } = await runs.secretOf(row);
  const about = { requestId: row.id, tenant: row.tenant, requestDigest: row.requestDigest, modality: "text" as const };
  const context: TicketContext = { ...about, trust, attempt, salt, clock: () => clock.now(), approvedModel };
  return { context, verifier: new TicketVerifier(context) };
}

function recordRelease(tx: Tx, row: RequestRow, held: HoldRow, message: ReviewDecisionMessage): Promise<boolean> {
  const [review, countersign] = [envelopeBytes(message.review!), envelopeBytes(message.countersign!)];
  return decideHold(tx, row.id, { stage: held.stage, review, countersign, allowed: true });
}

const nothing: Committed<undefined> = { value: undefined, messages: [] };
