/** A person's decision on a held request: released or let in only with review and countersignature, verified here. */
import { create, fromBinary } from "@bufbuild/protobuf";
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
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, type Committed, type Tx } from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { type Ending, endRequest } from "../../core/endings.ts";
import { envelopeBytes, readEnvelope, readJob } from "../../core/messages.ts";
import { endingWhileOff } from "../../core/switched-off.ts";
import { decideHold, findHold, type HoldRow } from "../../db/holds.ts";
import { findRequest, lockRequest, type RequestRow } from "../../db/ledger.ts";
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
  if (!row || !held || !waitsFor(row, held)) return;
  const decided = message.allow ? await allow(context, message, row, held) : await deny(context, message, row, held);
  if (decided) context.moves.announce(decided);
}

function waitsFor(row: RequestRow, held: HoldRow): boolean {
  return row.state === "held" && row.holdStage === held.stage && held.allowed === null;
}

type Change = (row: RequestRow) => Promise<Committed<RequestRow | undefined>>;

/** In a transaction, on the locked row: `change`, and the hold marked as decided, or nothing of it when somebody was first. */
async function decide(
  tx: Tx,
  held: HoldRow,
  { requestId, allow, review, countersign }: ReviewDecisionMessage,
  change: Change,
): Promise<Committed<RequestRow | undefined>> {
  const row = await lockRequest(tx, requestId);
  if (!row || !waitsFor(row, held)) return nothing;
  const words = {
    review: envelopeBytes(review!),
    countersign: allow ? envelopeBytes(countersign!) : null,
    allowed: allow,
  };
  if (!(await decideHold(tx, requestId, { stage: held.stage, ...words }))) return nothing;
  return change(row);
}

async function deny(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const { outbox, clock, trust } = context;
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
  const ending = (current: RequestRow): Ending => ({
    state: "blocked",
    code: "REVIEW_DENIED",
    message: outcomes.REVIEW_DENIED,
    stage: "review",
    findings: current.findings,
    attestations: [hold, review],
  });
  return outbox.commit((tx, places) =>
    decide(tx, held, message, (current) => endRequest(tx, places, current, ending(current), clock.now())),
  );
}

async function allow(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  if (!message.countersign)
    throw new AppError("INVALID_ARGUMENT", "a release without its countersignature", { reason: "DECISION_INVALID" });
  return held.stage === "door1" ? letIn(context, message, row, held) : letOut(context, message, row, held);
}

/** A released prompt goes to the queue as a first attempt, with the whole admission. */
async function letIn(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const { outbox, clock, limits, moves } = context;
  const [review, countersign] = [message.review!, message.countersign!];
  const job = readJob(row);
  const { door1 } = job.admission!;
  await verifyAdmission(context, row, message);
  job.admission = create(AdmissionSchema, { door1, review, countersign });
  const deadlineAt = new Date(clock.now().getTime() + limits.requestDeadlineMs);
  return outbox.commit((tx, places) =>
    decide(tx, held, message, async (current) => {
      const off = endingWhileOff(context, current);
      if (off) return moves.endIn(tx, places, current, { ...off, attestations: [door1!, review, countersign] });
      const queued = await moves.requeueIn(tx, current, job, deadlineAt);
      if (!queued) return nothing;
      const { findings, policyDigest, code } = current;
      const { message: event } = buildEvent(queued, places.next(), {
        event: "request.accepted",
        terminal: false,
        decision: { stage: "review", decision: "allow", code, findings, policyDigest },
        attestations: [door1!, review, countersign],
      });
      return { value: queued, messages: [{ audit: { event: "request.accepted", message: event } }] };
    }),
  );
}

/** Review and countersignature must be in time now; door 1's hold waited for them. */
async function verifyAdmission(context: Context, row: RequestRow, { review, countersign }: ReviewDecisionMessage) {
  const { trust, clock, runs, approvedModel } = context;
  const { salt } = await runs.secretOf(row);
  const about = { requestId: row.id, tenant: row.tenant, requestDigest: row.requestDigest, modality: "text" as const };
  const ticket: TicketContext = {
    ...about,
    ...{ trust, salt, approvedModel, attempt: row.attempt + 1, clock: () => clock.now() },
  };
  const release = { review: review!, countersign: countersign! };
  new TicketVerifier(ticket).admit(readJob(row).admission!.door1!, release);
}

/** A released output ends the request: fetched with GetRequest. */
async function letOut(context: Context, message: ReviewDecisionMessage, row: RequestRow, held: HoldRow) {
  const { outbox, clock, runs, approvedModel } = context;
  const [review, countersign, hold] = [message.review!, message.countersign!, readEnvelope(held.hold)];
  const secret = await runs.secretOf(row);
  const output = open(secret, { requestId: row.id, kind: "output", attempt: held.attempt, index: 0 }, held.content!);
  // Admission and claim were in time when they were committed; a person may take hours.
  const { verifier, ticket } = await runs.verifierOf(row);
  ticket.at = undefined;
  ticket.approvedModel = approvedModel;
  verifier.heldOutput(hold, review, countersign, output);
  const ending: Ending = {
    state: "released",
    code: "",
    message: "",
    stage: "review",
    outputDigest: saltedDigest(secret.salt, output),
    attestations: [readJob(row).admission!.door1!, readEnvelope(row.claim!), hold, review, countersign],
    usage: fromBinary(WindowContentSchema, output).usage,
  };
  return outbox.commit((tx, places) =>
    decide(tx, held, message, (current) => endRequest(tx, places, current, ending, clock.now())),
  );
}

const nothing: Committed<undefined> = { value: undefined, messages: [] };
