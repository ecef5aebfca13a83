/** One message of a run: checked for its place, judged with what came before it, answered, and only then acknowledged. */
import { fromBinary } from "@bufbuild/protobuf";
import { envelopeDigest, type Finding, open } from "@sallyport/attestation";
import {
  type Failure,
  type Start,
  type WindowMessage,
  WindowMessageSchema,
} from "@sallyport/proto/sallyport/bus/v1/bus";
import { type WindowContent, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { subjects } from "@sallyport/proto/subjects";
import {
  AppError,
  asAppError,
  countTicket,
  type MessageMeta,
  type SwitchFacts,
  stoppedBySwitch,
} from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { type JudgedOutput, judgeOutput, maxFindings } from "../core/judge.ts";
import { publishFailed, publishStarted, publishWindow } from "../core/publish.ts";
import { beginRun, type Run } from "../core/run.ts";

/** UTF-16 units: as UTF-8 still less than a bus message takes, since a held output travels whole. */
const maxOutputChars = 256 * 1_024;

type Meta = Pick<MessageMeta, "subject" | "timestampMs">;

export async function reviewWindow(context: Context, message: WindowMessage, meta: Meta): Promise<void> {
  const { runs, bus, log } = context;
  const { requestId, gatewayId, attempt } = message;
  // Of both subjects are made; what cannot be one came from no worker of ours.
  for (const name of [requestId, gatewayId]) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name))
      throw new AppError("INVALID_ARGUMENT", "the window names no request or no gateway", { reason: "WINDOW_INVALID" });
  }
  // In order are the messages of one subject: on another one they would overtake the request's own.
  if (meta.subject !== subjects.window(requestId)) return log.warn({ requestId, attempt }, "a window off its subject");
  let run = runs.get(message.requestId, message.attempt);
  const missing = message.index > 0 && (!run || (run.runId === message.runId && run.next < message.index));
  if (missing) {
    // This replica took the partition over, or another one read in between: read the run again from its first message.
    for await (const earlier of bus.replay("WINDOWS", meta.subject, WindowMessageSchema)) {
      const { attempt, index, runId } = earlier.message;
      if (attempt === message.attempt && runId === message.runId && index < message.index)
        await step(context, earlier.message, earlier.meta);
    }
    run = runs.get(message.requestId, message.attempt);
    // Its beginning is gone from the bus: nothing of it can be judged.
    if ((!run || run.next < message.index) && message.body.case !== "failure") {
      const gone = { code: "ATTEMPT_LOST", retryable: true, message: "the run's beginning is gone from the bus" };
      return loseAttempt(context, run, message, gone);
    }
  }
  await step(context, message, meta);
}

async function step(context: Context, message: WindowMessage, meta: Meta): Promise<void> {
  const run = context.runs.get(message.requestId, message.attempt);
  // A worker that took over, or could not begin: it tells of the attempt, not of the run that was read here.
  if (message.body.case === "failure" && run?.runId !== message.runId)
    return loseAttempt(context, run, message, message.body.value);
  if (!run) return message.body.case === "start" ? begin(context, message, meta) : undefined;
  // Another run of the same attempt, a message seen before, or a run that is over: nothing of it counts.
  if (run.runId !== message.runId || run.state === "over" || message.index !== run.next) return;
  // Throws while nobody knows: then the message comes again.
  if (message.body.case === "content" && context.switches.find(aboutOf(run.job))) return stop(context, run);
  if (message.body.case === "failure") await fail(context, run, message.body.value);
  else if (message.body.case === "content") await judge(context, run, message, message.body.value, meta);
  run.next = message.index + 1;
}

async function begin(context: Context, message: WindowMessage, meta: Meta): Promise<void> {
  if (message.body.case !== "start" || message.index !== 0) return;
  const { content } = message.body.value;
  const run = await verifiedRun(context, message, message.body.value);
  if (!run) return;
  // Known before the first word, so that a cancellation finds it.
  context.runs.add(run);
  try {
    if (content.length > 0) {
      if (context.switches.find(aboutOf(run.job))) return await stop(context, run);
      await judge(context, run, { ...message, index: 1 }, content, meta);
    }
    if (!run.told && run.state !== "over") await publishStarted(context, run);
  } catch (error) {
    // It comes again, and begins anew.
    context.runs.remove(run);
    throw error;
  }
  if (content.length > 0) run.next = 2;
}

/** Undefined: a run that cannot be verified is not judged, and so never released. */
async function verifiedRun(context: Context, message: WindowMessage, start: Start): Promise<Run | undefined> {
  try {
    const { trust, encryptionKey, clock, approvedModel, policy } = context;
    if (!context.models.fresh) context.models.get();
    if (!context.switches.fresh) context.switches.holding();
    const { contextChars } = policy.get().settings.review;
    const run = await beginRun(start, message.runId, { trust, encryptionKey, clock, approvedModel, contextChars });
    countTicket();
    return run.job.requestId === message.requestId && run.job.attempt === message.attempt ? run : undefined;
  } catch (error) {
    if (asAppError(error).code === "UNAVAILABLE") throw error;
    countTicket(error);
    context.log.error({ err: error, requestId: message.requestId, attempt: message.attempt }, "run refused");
    const refused = { code: "RUN_REFUSED", retryable: false, message: "the run's admission or claim does not verify" };
    await publishFailed(context, message, refused);
    return undefined;
  }
}

/** Nothing of what is switched off is signed any more. */
async function stop(context: Context, run: Run): Promise<void> {
  const message = "the operators have switched this off";
  await publishFailed(context, run.job, { code: stoppedBySwitch, retryable: true, message });
  run.state = "over";
}

function aboutOf({ identity, tenant, model }: Run["job"]): SwitchFacts {
  const { subject, issuer, credential } = identity ?? {};
  return { tenant, subject, issuer, credential, model };
}

async function fail(context: Context, run: Run, { code, retryable, message }: Failure): Promise<void> {
  await publishFailed(context, run.job, { code, retryable, message });
  run.state = "over";
}

async function loseAttempt(
  context: Context,
  run: Run | undefined,
  route: WindowMessage,
  failure: Pick<Failure, "code" | "retryable" | "message">,
): Promise<void> {
  if (run?.state === "over") return;
  const { code, retryable, message } = failure;
  await publishFailed(context, route, { code, retryable, message });
  if (run) run.state = "over";
}

async function judge(
  context: Context,
  run: Run,
  message: WindowMessage,
  sealed: Uint8Array,
  meta: Meta,
): Promise<void> {
  const { requestId, attempt } = run.job;
  const content = fromBinary(
    WindowContentSchema,
    open(run.secret, { requestId, kind: "window", attempt, index: message.index }, sealed),
  );
  if (run.text.whole.length + content.text.length > maxOutputChars) {
    const tooLarge = {
      code: "OUTPUT_TOO_LARGE",
      retryable: false,
      message: "the output is larger than can be reviewed",
    };
    await publishFailed(context, run.job, tooLarge);
    run.state = "over";
    return;
  }
  const before = run.text.snapshot();
  try {
    run.text.append(content.text);
    const window = { content, final: message.final, issuedAtMs: meta.timestampMs };
    if (run.state === "streaming") await judgeStream(context, run, window);
    // The window that was held may be the last one: then the whole is judged at once.
    if (run.state === "holding" && message.final) await judgeWhole(context, run, window);
    if (message.final) run.state = "over";
  } catch (error) {
    run.text.restore(before);
    throw error;
  }
}

interface Window {
  readonly content: WindowContent;
  readonly final: boolean;
  readonly issuedAtMs: number;
}

async function judgeStream(context: Context, run: Run, { content, final, issuedAtMs }: Window): Promise<void> {
  const { text, from } = run.text.view;
  const judged = judgeOutput(context, run.job, text, from);
  const { findings, policyDigest, holdMs, secondReviewer } = judged;
  const place = { index: run.verdict.index, prev: run.verdict.prev, findings, policyDigest, issuedAtMs };
  const options = { whole: false, holdMs, secondReviewer };
  if (judged.decision === "deny" || judged.decision === "hold") {
    const { decision } = judged;
    await publishWindow(context, run, {
      ...options,
      word: { ...place, decision, final: decision === "deny" },
      content: { text: text.slice(from) },
    });
    if (decision === "hold") run.hold = { findings, holdMs, secondReviewer };
    // A cancellation may have come meanwhile: it stays.
    if (run.state === "streaming") run.state = decision === "deny" ? "over" : "holding";
    return;
  }
  const release = run.text.take(judged.openFrom, judged.edits, final);
  if (release.text === "" && !final) return;
  const decision = release.edited ? "sanitise" : "allow";
  const last = final ? { finishReason: content.finishReason, usage: content.usage } : {};
  const released = { text: release.text, sanitised: release.edited, ...last };
  const envelope = await publishWindow(context, run, {
    ...options,
    word: { ...place, decision, final },
    content: released,
  });
  run.verdict = { index: run.verdict.index + 1, prev: envelopeDigest(envelope) };
}

/** Of a held output the whole is judged once more: denied, or sealed for the reviewer. */
async function judgeWhole(context: Context, run: Run, { content, issuedAtMs }: Window): Promise<void> {
  const judged = judgeOutput(context, run.job, run.text.whole, 0);
  const { policyDigest } = judged;
  const { findings, ...options } = asHeld(run, judged);
  if (judged.decision === "deny") {
    const word = { decision: "deny" as const, findings, policyDigest, issuedAtMs, ...run.verdict, final: true };
    await publishWindow(context, run, { ...options, whole: false, word, content: { text: run.text.whole } });
    return;
  }
  const { text, edited } = run.text.editedWhole(judged.edits);
  const word = {
    decision: "hold" as const,
    findings,
    policyDigest,
    issuedAtMs,
    index: 0,
    prev: run.claimDigest,
    final: true,
  };
  const whole = { text, sanitised: edited, finishReason: content.finishReason, usage: content.usage };
  await publishWindow(context, run, { ...options, whole: true, word, content: whole });
}

/** What the window showed counts beside what the whole shows: another view of it must not shorten the review. */
function asHeld({ hold }: Run, judged: JudgedOutput): NonNullable<Run["hold"]> {
  if (hold === undefined) return judged;
  const key = ({ code, category, layer }: Finding) => `${code} ${category} ${layer}`;
  const seen = new Set(judged.findings.map(key));
  const added = hold.findings.filter((finding) => !seen.has(key(finding)));
  const findings = judged.decision === "hold" ? [...judged.findings, ...added] : [...added, ...judged.findings];
  const waits = [hold.holdMs, judged.holdMs].filter((ms) => ms > 0);
  return {
    findings: findings.slice(0, maxFindings),
    holdMs: waits.length > 0 ? Math.min(...waits) : 0,
    secondReviewer: hold.secondReviewer || judged.secondReviewer,
  };
}
