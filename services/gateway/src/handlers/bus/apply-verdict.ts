/** Door 2's word on a window or run: verified, committed, and only then handed to the caller. */
import { fromBinary } from "@bufbuild/protobuf";
import { AttestationError, decodeStatement, open, saltedDigest, TicketError } from "@sallyport/attestation";
import type { VerdictMessage, WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { delay, withSpanSync } from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { chainOf } from "../../core/chain.ts";
import { type Ending, endRequest } from "../../core/endings.ts";
import { envelopeBytes, readEnvelope } from "../../core/messages.ts";
import type { Run } from "../../core/runs.ts";
import { countWindow, type RequestRow, startRun } from "../../db/ledger.ts";
import { insertWindow, listWindows, type WindowRow } from "../../db/windows.ts";
import { isJudgedNow } from "../../domain/request-state.ts";
import { windowBody } from "../../events.ts";
import { countReleased, countTicket } from "../../metrics.ts";
import { applyHold } from "./apply-hold.ts";

const maxStaleMs = 5_000;
const everyMs = 50;

export async function applyVerdict(context: Context, message: VerdictMessage): Promise<void> {
  try {
    // A verdict on an attempt that is over, or on a request that has ended, changes nothing.
    const run = await context.runs.get(message.requestId, message.attempt);
    if (!run) return;
    const { body } = message;
    if (body.case === "failed") return await fail(context, run, body.value);
    await modelsKnown(context);
    if (body.case === "started") await start(context, run, body.value);
    else if (body.case === "window") await judge(context, run, message, body.value);
    else throw new TicketError("FIELD_INVALID", "an empty verdict");
  } catch (error) {
    // The chain was followed in memory: how far it really is, the ledger knows.
    context.runs.drop(message.requestId);
    if (error instanceof AttestationError) return refuseTicket(context, message, error.code);
    throw error;
  }
}

/** Stale is not revoked: waits a moment for the manifest to be confirmed again, then throws, and the verdict comes again. */
async function modelsKnown({ models }: Context): Promise<void> {
  for (let waited = 0; !models.fresh && waited < maxStaleMs; waited += everyMs) await delay(everyMs);
  models.get();
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
  const { decision, envelope, whole } = verdict;
  if (!envelope) throw new TicketError("TRUNCATED", "a verdict without its envelope");
  // A verdict between the last one and this never came. The whole of a held output stands for itself.
  if (!run.claimed || (!whole && message.index > run.next)) return lostVerdict(context, run);
  if (decision === Decision.ALLOW || decision === Decision.SANITISE) return release(context, run, message, verdict);
  if (decision === Decision.HOLD) return applyHold(context, run, verdict);
  if (decision !== Decision.DENY) throw new TicketError("DECISION_REFUSED", "an unknown decision");
  const { decision: signed, findings, policyDigest } = run.verifier.decisionOnly(envelope).statement.predicate;
  if (signed !== "deny") throw new TicketError("DECISION_REFUSED", "the signed decision is another one");
  await context.moves.end(run.requestId, (row) => {
    if (!isJudgedNow(row, run.attempt)) return undefined;
    return {
      state: "blocked",
      code: findings[0]?.code ?? "BLOCKED",
      stage: "door2",
      findings,
      policyDigest: policyDigest ?? "",
      attestations: [...run.admission, readEnvelope(row.claim!), envelope],
      detail: { windowsReleased: row.windowsReleased },
    };
  });
}

async function release(context: Context, run: Run, message: VerdictMessage, verdict: WindowVerdict): Promise<void> {
  const { attempt, index } = message;
  if (index < run.next) return;
  const envelope = verdict.envelope!;
  const content = open(run.secret, { requestId: run.requestId, kind: "verdict", attempt, index }, verdict.content);
  const { final } = withSpanSync("verify ticket", {}, () => run.verifier.window(envelope, content));
  countTicket();
  const stored = { attempt, index, envelope: envelopeBytes(envelope), content: verdict.content, final };
  const row = await context.outbox.commit(async (tx, places) => {
    const now = context.clock.now();
    const counted = await countWindow(tx, run.requestId, attempt, index, now);
    if (!counted) return { value: undefined, messages: [] };
    await insertWindow(tx, run.requestId, stored);
    if (!final) return { value: counted, messages: [] };
    const windows = await listWindows(tx, run.requestId, attempt);
    const { usage } = fromBinary(WindowContentSchema, content);
    return endRequest(tx, places, counted, { ...released(run, counted, windows), usage }, now);
  });
  if (!row) return context.runs.drop(run.requestId);
  run.next = index + 1;
  countReleased(row, context.clock.now());
  const chain = index === 0 ? { chain: chainOf(row, run.secret.salt) } : {};
  context.live.publish(run.requestId, { window: { attempt, index, content, ticket: envelope, ...chain } });
  if (final) context.moves.announce(row);
}

function released(run: Run, row: RequestRow, windows: readonly WindowRow[]): Ending {
  const last = readEnvelope(windows.at(-1)!.envelope);
  return {
    state: "released",
    code: "",
    message: "",
    stage: "door2",
    policyDigest: decodeStatement(last.payload).predicate.policyDigest ?? "",
    outputDigest: saltedDigest(run.secret.salt, wholeOutput(run, windows)),
    attestations: [...run.admission, readEnvelope(row.claim!), last],
    detail: { windows: windows.length },
    bodies: windows.map(({ content, attempt, index }) => windowBody(content, attempt, index)),
  };
}

/** The released contents, one after the other. */
function wholeOutput({ requestId, secret }: Run, windows: readonly WindowRow[]): Uint8Array {
  const context = { requestId, kind: "verdict" as const };
  return Buffer.concat(
    windows.map(({ attempt, index, content }) => open(secret, { ...context, attempt, index }, content)),
  );
}

/** With nothing released the run is repeated, else it ends. */
function lostVerdict(context: Context, { requestId, attempt }: Run): Promise<void> {
  return context.moves.lost(requestId, { attempt, retryable: true, code: "VERDICT_LOST", stage: "gateway" });
}

function fail(
  context: Context,
  { requestId, attempt }: Run,
  { code, retryable }: { code: string; retryable: boolean },
): Promise<void> {
  return context.moves.lost(requestId, { attempt, retryable, code, stage: "worker" });
}

async function refuseTicket(context: Context, { requestId, attempt }: VerdictMessage, reason: string): Promise<void> {
  countTicket(reason);
  context.log.error({ requestId, attempt, reason }, "release ticket refused");
  // A model that was taken back while it spoke: nothing was forged, and the caller can do something about it.
  const code = reason === "MODEL_NOT_APPROVED" ? reason : "TICKET_INVALID";
  await context.moves.end(requestId, (row) =>
    isJudgedNow(row, attempt) ? { state: "failed", code, stage: "gateway", detail: { reason } } : undefined,
  );
}
