/** Door 2's word on a window or run: verified, committed, and only then handed to the caller. */
import { fromBinary } from "@bufbuild/protobuf";
import { AttestationError, type Envelope, open, TicketError } from "@sallyport/attestation";
import type { VerdictMessage, WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import {
  AppError,
  type AuditPlaces,
  type Committed,
  countTicket,
  delay,
  stoppedBySwitch,
  type Tx,
  withSpanSync,
} from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { chainOf } from "../../core/chain.ts";
import { type Ending, endRequest } from "../../core/endings.ts";
import { envelopeBytes } from "../../core/messages.ts";
import type { Run } from "../../core/runs.ts";
import { aboutOf, endingAtWork, offOf } from "../../core/switched-off.ts";
import { type RequestRow, startRun } from "../../db/ledger.ts";
import { releaseWindow, type WindowRow } from "../../db/windows.ts";
import { isJudgedNow } from "../../domain/request-state.ts";
import { windowBody } from "../../events.ts";
import { countReleased } from "../../metrics.ts";
import { applyHold } from "./apply-hold.ts";

const maxStaleMs = 5_000;
const everyMs = 50;
const startWithinMs = 5;
/** Signed state is read again every second. */
const maxUnseenMs = 2_000;

export async function applyVerdict(context: Context, message: VerdictMessage): Promise<void> {
  try {
    // A verdict on an attempt that is over, or on a request that has ended, changes nothing.
    const run = await context.runs.get(message.requestId, message.attempt);
    if (!run) return;
    const { body } = message;
    if (body.case === "failed") return await fail(context, run, body.value);
    await modelsKnown(context);
    if (message.claim) start(context, run, message.claim);
    if (body.case === "started") start(context, run, body.value);
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

/**
 * Verified at once, stored a moment later: a quick model's first window is here by then and brings the claim along, in one
 * commit less. Should this process end in between, the window finds no claim, and the run is tried again.
 */
function start(context: Context, run: Run, claim: Envelope): void {
  if (run.claim) return;
  run.verifier.claim(claim);
  run.claim = claim;
  context.dispatcher.begun(run.row);
  run.starting = setTimeout(() => {
    storeStart(context, run).catch((err: unknown) => {
      context.log.warn({ err, requestId: run.requestId }, "a run's start is not stored yet");
    });
  }, startWithinMs).unref();
}

async function storeStart({ outbox, clock }: Context, { requestId, attempt, claim }: Run): Promise<void> {
  const start = async (tx: Tx) => ({
    value: await startRun(tx, requestId, attempt, envelopeBytes(claim!), clock.now()),
    messages: [],
  });
  await outbox.commit(start, { pipelined: true });
}

async function judge(context: Context, run: Run, message: VerdictMessage, verdict: WindowVerdict): Promise<void> {
  const { decision, envelope, whole } = verdict;
  if (!envelope) throw new TicketError("TRUNCATED", "a verdict without its envelope");
  if (offOf(context, aboutOf(run.row))) {
    await context.moves.end(run.requestId, (row) => endingAtWork(context, row));
    return;
  }
  // A verdict between the last one and this never came. The whole of a held output stands for itself.
  if (!run.claim || (!whole && message.index > run.windows.length)) return lostVerdict(context, run);
  if (decision === Decision.ALLOW || decision === Decision.SANITISE) return release(context, run, message, verdict);
  // What follows is about a run that the ledger knows of.
  if (run.windows.length === 0) await storeStart(context, run);
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
      attestations: [...run.admission, run.claim!, envelope],
      detail: { windowsReleased: row.windowsReleased },
    };
  });
}

async function release(context: Context, run: Run, message: VerdictMessage, verdict: WindowVerdict): Promise<void> {
  const { attempt, index } = message;
  if (index < run.windows.length) return;
  const envelope = verdict.envelope!;
  const content = open(run.secret, { requestId: run.requestId, kind: "verdict", attempt, index }, verdict.content);
  const { final, statement } = withSpanSync("verify ticket", {}, () => run.verifier.window(envelope, content));
  countTicket();
  const stored = { attempt, index, envelope: envelopeBytes(envelope), content: verdict.content, final };
  const ending = final
    ? released(run, { envelope, content, stored }, statement.predicate.policyDigest ?? "")
    : undefined;
  const claim = envelopeBytes(run.claim!);
  clearTimeout(run.starting);
  const store = async (tx: Tx, places: AuditPlaces): Promise<Committed<RequestRow | undefined>> => {
    const now = context.clock.now();
    const running = { ...run.row, state: "running" as const, claim, windowsReleased: index + 1, progressAt: now };
    // Both are sent at once, and stored both or neither.
    const [released, ended] = await Promise.all([
      releaseWindow(tx, run.requestId, stored, claim, now),
      ending && endRequest(tx, places, running, ending, now),
    ]);
    if (!released && ended?.value)
      throw new AppError("INTERNAL", "an end without its window", { reason: "WINDOW_LOST" });
    return released ? (ended ?? { value: running, messages: [] }) : (ended ?? { value: undefined, messages: [] });
  };
  const row = await context.outbox.commit(store, { pipelined: true });
  if (!row) return context.runs.drop(run.requestId);
  countReleased(row, context.clock.now());
  run.row = row;
  run.windows.push(stored);
  run.digest.update(content);
  const chain = index === 0 ? { chain: chainOf(row, run.secret.salt) } : {};
  context.live.publish(run.requestId, { window: { attempt, index, content, ticket: envelope, ...chain } });
  if (final) context.moves.announce(row);
}

interface Last {
  readonly envelope: Envelope;
  readonly content: Uint8Array;
  readonly stored: WindowRow;
}

function released(run: Run, last: Last, policyDigest: string): Ending {
  const windows = [...run.windows, last.stored];
  return {
    state: "released",
    code: "",
    message: "",
    stage: "door2",
    policyDigest,
    outputDigest: run.digest.copy().update(last.content).digest("hex"),
    attestations: [...run.admission, run.claim!, last.envelope],
    detail: { windows: windows.length },
    bodies: windows.map(({ content, attempt, index }) => windowBody(content, attempt, index)),
    usage: fromBinary(WindowContentSchema, last.content).usage,
  };
}

/** With nothing released the run is repeated, else it ends. */
function lostVerdict(context: Context, { requestId, attempt }: Run): Promise<void> {
  return context.moves.lost(requestId, { attempt, retryable: true, code: "VERDICT_LOST", stage: "gateway" });
}

async function fail(
  context: Context,
  run: Run,
  { code, retryable }: { code: string; retryable: boolean },
): Promise<void> {
  if (code === stoppedBySwitch) await seenHere(context, run);
  const { requestId, attempt } = run;
  return context.moves.lost(requestId, { attempt, retryable, code, stage: "worker" });
}

/** A worker may hear of a switch a moment sooner. What it says is believed only once the switch is seen here as well. */
async function seenHere(context: Context, { row }: Run): Promise<void> {
  for (let waited = 0; !offOf(context, aboutOf(row)) && waited < maxUnseenMs; waited += everyMs) await delay(everyMs);
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
