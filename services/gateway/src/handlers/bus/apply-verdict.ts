/** Door 2's word on a window or run: verified, committed, and only then handed to the caller. */
import { decodeStatement, open, saltedDigest, TicketError } from "@sallyport/attestation";
import type { VerdictMessage, WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import type { Context } from "../../context.ts";
import { endRequest } from "../../core/endings.ts";
import { envelopeBytes, readEnvelope } from "../../core/messages.ts";
import type { Run } from "../../core/runs.ts";
import { countWindow, findRequest, insertWindow, listWindows, startRun, type WindowRow } from "../../db/ledger.ts";
import { windowBody } from "../../events.ts";
import { applyHold } from "./apply-hold.ts";

export async function applyVerdict(context: Context, message: VerdictMessage): Promise<void> {
  try {
    // A verdict on an attempt that is over, or on a request that has ended, changes nothing.
    const run = await context.runs.get(message.requestId, message.attempt);
    if (!run) return;
    const { body } = message;
    if (body.case === "started") await start(context, run, body.value);
    else if (body.case === "failed") await fail(context, message, body.value);
    else if (body.case === "window") await judge(context, run, message, body.value);
    else throw new TicketError("FIELD_INVALID", "an empty verdict");
  } catch (error) {
    const refused = error instanceof TicketError || (error instanceof Error && error.name === "AttestationError");
    if (refused) return refuseTicket(context, message, error);
    // The chain was followed in memory, and the commit failed: how far it really is, the ledger knows.
    context.runs.drop(message.requestId);
    throw error;
  }
}

async function start(
  { outbox, clock, runs }: Context,
  run: Run,
  claim: Parameters<Run["verifier"]["claim"]>[0],
): Promise<void> {
  if (run.claimed) return;
  run.verifier.claim(claim);
  run.claimed = true;
  const row = await outbox.commit(async (tx) => ({
    value: await startRun(tx, run.requestId, run.attempt, envelopeBytes(claim), clock.now()),
    messages: [],
  }));
  if (!row) runs.drop(run.requestId);
}

async function judge(context: Context, run: Run, message: VerdictMessage, verdict: WindowVerdict): Promise<void> {
  if (!verdict.envelope) throw new TicketError("TRUNCATED", "a verdict without its envelope");
  if (verdict.decision === Decision.ALLOW || verdict.decision === Decision.SANITISE)
    return release(context, run, message, verdict);
  if (verdict.decision === Decision.HOLD) return applyHold(context, run, verdict);
  if (verdict.decision !== Decision.DENY) throw new TicketError("DECISION_REFUSED", "an unknown decision");
  const { statement } = run.verifier.decisionOnly(verdict.envelope);
  const row = await currentRow(context, run);
  if (!row) return;
  const findings = statement.predicate.findings;
  await context.moves.end(row, {
    state: "blocked",
    code: findings[0]?.code ?? "BLOCKED",
    stage: "door2",
    findings,
    policyDigest: statement.predicate.policyDigest ?? "",
    attestations: [run.job.admission!.door1!, readEnvelope(row.claim!), verdict.envelope],
    detail: { windowsReleased: row.windowsReleased },
  });
}

async function release(context: Context, run: Run, message: VerdictMessage, verdict: WindowVerdict): Promise<void> {
  const { attempt, index } = message;
  if (index < run.next) return;
  if (index > run.next) return lostVerdict(context, run);
  const envelope = verdict.envelope!;
  const content = open(run.secret, { requestId: run.requestId, kind: "verdict", attempt, index }, verdict.content);
  const { final } = run.verifier.window(envelope, content);
  const row = await context.outbox.commit(async (tx, places) => {
    const now = context.clock.now();
    const counted = await countWindow(tx, run.requestId, attempt, index, now);
    if (!counted) return { value: undefined, messages: [] };
    await insertWindow(tx, run.requestId, {
      attempt,
      index,
      envelope: envelopeBytes(envelope),
      content: verdict.content,
      final,
    });
    if (!final) return { value: counted, messages: [] };
    const windows = await listWindows(tx, run.requestId, attempt);
    const { review, countersign, door1 } = run.job.admission!;
    return endRequest(
      tx,
      places,
      counted,
      {
        state: "released",
        code: "",
        message: "",
        stage: "door2",
        policyDigest: decodeStatement(envelope.payload).predicate.policyDigest ?? "",
        outputDigest: saltedDigest(run.secret.salt, wholeOutput(run, windows)),
        attestations: [
          door1!,
          ...(review && countersign ? [review, countersign] : []),
          readEnvelope(counted.claim!),
          envelope,
        ],
        detail: { windows: windows.length },
        bodies: windows.map((window) => windowBody(window.content, attempt, window.index)),
      },
      now,
    );
  });
  if (!row) return context.runs.drop(run.requestId);
  run.next = index + 1;
  context.live.publish(run.requestId, { window: { attempt, index, content, ticket: envelope } });
  if (final) context.moves.announce(row);
}

/** The released contents, one after the other. */
function wholeOutput({ requestId, secret }: Run, windows: readonly WindowRow[]): Uint8Array {
  const context = { requestId, kind: "verdict" as const };
  return Buffer.concat(
    windows.map(({ attempt, index, content }) => open(secret, { ...context, attempt, index }, content)),
  );
}

/** A verdict between the last one and this never came: with nothing released the run is repeated, else it ends. */
async function lostVerdict(context: Context, run: Run): Promise<void> {
  const row = await currentRow(context, run);
  if (row)
    await context.moves.lost(row, {
      retryable: true,
      code: "VERDICT_LOST",
      stage: "gateway",
      detail: "a verdict is missing",
    });
}

async function fail(
  context: Context,
  message: VerdictMessage,
  failure: { code: string; retryable: boolean; message: string },
): Promise<void> {
  const row = await context.db.transaction((tx) => findRequest(tx, message.requestId));
  if (!row || row.attempt !== message.attempt) return;
  await context.moves.lost(row, {
    retryable: failure.retryable,
    code: failure.code,
    stage: "worker",
    detail: failure.message,
  });
}

async function refuseTicket(context: Context, message: VerdictMessage, error: Error): Promise<void> {
  const reason = "code" in error ? String(error.code) : "INVALID";
  context.log.error({ requestId: message.requestId, attempt: message.attempt, reason }, "release ticket refused");
  const row = await context.db.transaction((tx) => findRequest(tx, message.requestId));
  if (!row || row.attempt !== message.attempt) return;
  await context.moves.end(row, { state: "failed", code: "TICKET_INVALID", stage: "gateway", detail: { reason } });
}

export async function currentRow(context: Context, run: Run) {
  const row = await context.db.transaction((tx) => findRequest(tx, run.requestId));
  return row?.attempt === run.attempt ? row : undefined;
}
