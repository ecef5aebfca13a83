/** One window of a run: judged with what came before it, and answered. */
import { fromBinary } from "@bufbuild/protobuf";
import { envelopeDigest, type Finding, open } from "@sallyport/attestation";
import type { WindowMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type WindowContent, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import type { MessageMeta } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { type JudgedOutput, judgeOutput, maxFindings } from "./judge.ts";
import { publishFailed, publishWindow } from "./publish.ts";
import type { Run } from "./run.ts";

/** UTF-16 units: as UTF-8 still less than a bus message takes, since a held output travels whole. */
const maxOutputChars = 256 * 1_024;

export async function review(
  context: Context,
  run: Run,
  message: WindowMessage,
  sealed: Uint8Array,
  { timestampMs }: Pick<MessageMeta, "timestampMs">,
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
    const window = { content, final: message.final, issuedAtMs: timestampMs };
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
