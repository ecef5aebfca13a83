/** One message of a run: checked for its place, judged with what came before it, answered, and only then acknowledged. */
import { type WindowMessage, WindowMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import { AppError } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { loseAttempt, type Meta, step } from "../core/steps.ts";

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
