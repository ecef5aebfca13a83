/**
 * Door 2 held an output. First word: the stream ends as held, nothing more is released. Second: the whole output, judged
 * and sealed, goes to the ledger, to the vault and into the review queue.
 */
import { open, saltedDigest, subjectOf, TicketError } from "@sallyport/attestation";
import type { WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Context } from "../../context.ts";
import { envelopeBytes, heldMessage, readEnvelope } from "../../core/messages.ts";
import type { Run } from "../../core/runs.ts";
import { insertHold } from "../../db/holds.ts";
import { type Hold, hold } from "../../db/ledger.ts";
import { boundedHoldMs } from "../../domain/hold-time.ts";
import { outcomeMessage } from "../../domain/outcomes.ts";
import { buildEvent, heldOutputBody } from "../../events.ts";

export async function applyHold(context: Context, run: Run, verdict: WindowVerdict): Promise<void> {
  // Delivered again: the stream has ended.
  if (run.holding && !verdict.whole) return;
  const { statement } = run.verifier.decisionOnly(verdict.envelope!);
  const { decision, findings, policyDigest } = statement.predicate;
  if (decision !== "hold") throw new TicketError("DECISION_REFUSED", "the signed decision is another one");
  const code = findings[0]?.code ?? "HELD";
  const now = context.clock.now();
  const held: Hold = {
    stage: verdict.whole ? "door2" : "collecting",
    expiresAt: new Date(now.getTime() + boundedHoldMs(verdict.obligations?.holdMs)),
    code,
    message: outcomeMessage(code, context.codes(), "HELD"),
    findings,
    policyDigest: policyDigest ?? "",
  };
  const row = verdict.whole
    ? await holdWhole(context, run, { verdict, statement, held, now })
    : await holdStream(context, run, held);
  if (!row) return context.runs.drop(run.requestId);
  run.holding = true;
  if (verdict.whole) {
    context.quotas.settle(run.requestId);
    context.dispatcher.left(row);
  }
  context.live.publish(run.requestId, { row });
  // It waits for a person now: no verdict says anything about it any more.
  if (verdict.whole) context.runs.drop(run.requestId);
}

function holdStream({ outbox }: Context, run: Run, held: Hold) {
  return outbox.commit(async (tx) => ({ value: await hold(tx, run.requestId, run.attempt, held), messages: [] }));
}

interface Whole {
  readonly verdict: WindowVerdict;
  readonly statement: ReturnType<Run["verifier"]["decisionOnly"]>["statement"];
  readonly held: Hold;
  readonly now: Date;
}

function holdWhole(context: Context, run: Run, { verdict, statement, held, now }: Whole) {
  const { attempt, requestId } = run;
  const envelope = verdict.envelope!;
  const output = open(run.secret, { requestId, kind: "output", attempt, index: 0 }, verdict.content);
  const outputDigest = saltedDigest(run.secret.salt, output);
  if (subjectOf(statement).digest !== outputDigest)
    throw new TicketError("SUBJECT_MISMATCH", "the hold is about other bytes");
  // What does not stand for the whole output could never be released, whoever decided so.
  if (!statement.predicate.final || statement.predicate.index !== 0)
    throw new TicketError("CHAIN_BROKEN", "the hold is not over the whole output");
  const secondReviewer = verdict.obligations?.secondReviewer ?? false;
  return context.outbox.commit(async (tx, places) => {
    const row = await hold(tx, requestId, attempt, held);
    if (!row) return { value: undefined, messages: [] };
    await insertHold(tx, row.id, { stage: "door2", attempt, hold: envelopeBytes(envelope), content: verdict.content });
    const { findings, policyDigest, code } = held;
    const event = buildEvent(row, places.next(), {
      event: "request.held",
      terminal: false,
      decision: { stage: "door2", decision: "hold", code, findings, policyDigest },
      outputDigest,
      attestations: [...run.admission, readEnvelope(row.claim!), envelope],
      bodies: [heldOutputBody(verdict.content, attempt)],
    });
    const item = heldMessage(row, { stage: "door2", envelope, secondReviewer, now });
    return { value: row, messages: [{ audit: { event: "request.held", message: event.message } }, item] };
  });
}
