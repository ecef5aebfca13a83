/** A run's messages, one step each: its start, what it says, its failure. What is out of place changes nothing. */
import type { Failure, Start, WindowMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import { asAppError, countTicket, type MessageMeta, type SwitchFacts, stoppedBySwitch } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { publishFailed, publishStarted } from "./publish.ts";
import { review } from "./review.ts";
import { beginRun, type Run } from "./run.ts";

export type Meta = Pick<MessageMeta, "subject" | "timestampMs">;

export async function step(context: Context, message: WindowMessage, meta: Meta): Promise<void> {
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
  else if (message.body.case === "content") await review(context, run, message, message.body.value, meta);
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
      await review(context, run, { ...message, index: 1 }, content, meta);
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

export async function loseAttempt(
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
