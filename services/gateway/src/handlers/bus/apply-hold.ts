/**
 * Door 2 held an output. First word: the stream ends as held, nothing more is released. Second: the whole output, judged
 * and sealed, goes to the ledger, to the vault and into the review queue.
 */
import { decodeStatement, open, saltedDigest, subjectOf, TicketError } from "@sallyport/attestation";
import type { WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Context } from "../../context.ts";
import { envelopeBytes, heldMessage, readEnvelope } from "../../core/messages.ts";
import type { Run } from "../../core/runs.ts";
import { type Hold, hold, insertHold } from "../../db/ledger.ts";
import { outcomeMessage } from "../../domain/outcomes.ts";
import { buildEvent, heldOutputBody } from "../../events.ts";

/** Less than the day for which door 1's word is good. */
const maxHoldMs = 23 * 3_600_000;
const minHoldMs = 60_000;

export async function applyHold(context: Context, run: Run, verdict: WindowVerdict): Promise<void> {
  const { statement } = run.verifier.decisionOnly(verdict.envelope!);
  const { findings, policyDigest } = statement.predicate;
  const now = context.clock.now();
  const holdMs = Math.min(Math.max(Number(verdict.obligations?.holdMs ?? 0n), minHoldMs), maxHoldMs);
  const held: Hold = {
    stage: verdict.whole ? "door2" : "collecting",
    expiresAt: new Date(now.getTime() + holdMs),
    code: findings[0]?.code ?? "HELD",
    message: outcomeMessage(findings[0]?.code ?? "HELD", context.codes(), "HELD"),
    findings,
    policyDigest: policyDigest ?? "",
  };
  const row = verdict.whole ? await holdWhole(context, run, verdict, held) : await holdStream(context, run, held);
  if (row) context.live.publish(run.requestId, { row });
  else context.runs.drop(run.requestId);
}

function holdStream({ outbox }: Context, run: Run, held: Hold) {
  return outbox.commit(async (tx) => ({ value: await hold(tx, run.requestId, run.attempt, held), messages: [] }));
}

function holdWhole(context: Context, run: Run, verdict: WindowVerdict, held: Hold) {
  const { attempt } = run;
  const envelope = verdict.envelope!;
  const output = open(run.secret, { requestId: run.requestId, kind: "output", attempt, index: 0 }, verdict.content);
  const outputDigest = saltedDigest(run.secret.salt, output);
  const sameBytes = subjectOf(decodeStatement(envelope.payload)).digest === outputDigest;
  if (!sameBytes) throw new TicketError("SUBJECT_MISMATCH", "the hold is about other bytes");
  const secondReviewer = verdict.obligations?.secondReviewer ?? false;
  return context.outbox.commit(async (tx, places) => {
    const row = await hold(tx, run.requestId, attempt, held);
    if (!row) return { value: undefined, messages: [] };
    await insertHold(tx, row.id, { stage: "door2", attempt, hold: envelopeBytes(envelope), content: verdict.content });
    const { findings, policyDigest, code } = held;
    const event = buildEvent(row, places.next(), {
      event: "request.held",
      terminal: false,
      decision: { stage: "door2", decision: "hold", code, findings, policyDigest },
      outputDigest,
      attestations: [run.job.admission!.door1!, readEnvelope(row.claim!), envelope],
      bodies: [heldOutputBody(verdict.content, attempt)],
    });
    const item = heldMessage(row, { stage: "door2", envelope, secondReviewer, now: context.clock.now() });
    return { value: row, messages: [{ audit: { event: "request.held", message: event.message } }, item] };
  });
}
