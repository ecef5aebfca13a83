/** One chat, for gRPC and HTTP alike: admitted, followed, and cancelled when its caller goes away. */
import { AppError, noteRequest, untilAborted } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { type Admitted, admit, type ChatCall } from "../core/admit.ts";
import { cancel } from "../core/cancel.ts";
import { type FollowEvent, follow } from "../core/follow.ts";
import type { Slot } from "../core/in-flight.ts";
import { aboutOf, errorFor } from "../core/switched-off.ts";
import type { RequestRow } from "../db/ledger.ts";
import { outcomes } from "../domain/outcomes.ts";
import { describeAccepted, describeOutcome } from "./describe.ts";

export type ChatEvent = { accepted: RequestRow; quota: Admitted["quota"] } | FollowEvent;

/** The ledger ends a request at its deadline; the caller gets this much more time to hear so. */
const graceMs = 2_000;

/** Ends in time, with an error of its own, also when the ledger does not answer or the service stops. */
export async function* chat(context: Context, call: ChatCall): AsyncGenerator<ChatEvent> {
  const slot = context.inFlight.enter({ ...call.identity, model: call.content.model });
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new AppError("DEADLINE_EXCEEDED", outcomes.DEADLINE_EXCEEDED)),
    context.limits.requestDeadlineMs + graceMs,
  );
  const over = AbortSignal.any([slot.signal, late.signal]);
  const events = followed(context, { ...call, signal: AbortSignal.any([call.signal, over]) }, slot);
  try {
    for (;;) {
      const step = await untilAborted(events.next(), over);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    clearTimeout(timer);
    const closed = events.return(undefined);
    // Then it may wait for the very part that is away: the caller does not.
    if (over.aborted) closed.catch((err: unknown) => context.log.warn({ err }, "a late request was left"));
    else await closed;
  }
}

async function* followed(context: Context, call: ChatCall, slot: Slot): AsyncGenerator<ChatEvent> {
  using _slot = slot;
  const { row, repeated, quota } = await admit(context, call);
  const about = aboutOf(row);
  slot.about.push(about);
  using follower = context.live.follow(row.id);
  noteRequest(row.id);
  describeAccepted(row);
  let last: Uint8Array | undefined;
  let settled = row.state === "blocked" || (row.state === "held" && !repeated);
  try {
    yield { accepted: row, quota };
    if (settled) {
      describeOutcome(row);
      return yield { outcome: row };
    }
    // Of a new request nothing was missed: from its commit to `follow` above no message was read.
    const options = { follower, requestId: row.id, signal: call.signal, catchUp: repeated };
    for await (const event of follow({ ...context, ...options })) {
      const off = "window" in event ? errorFor(context, about) : undefined;
      // The ledger ends it for that reason, not because its caller has gone.
      if (off) settled = true;
      if (off) throw off;
      if ("window" in event) last = event.window.content;
      if ("outcome" in event) {
        settled = true;
        describeOutcome(event.outcome, last);
      }
      yield event;
    }
  } finally {
    // With an idempotency key the work goes on: the caller comes back for its outcome. So it does when this gateway stops.
    // What is switched off is ended for that reason, and where nobody knows it goes on until somebody does.
    const left = !settled && !call.idempotencyKey && !slot.signal.aborted;
    if (left) await leave(context, row.id);
  }
}

/** Where the ledger does not answer either, its own deadline ends the request later. */
async function leave(context: Context, requestId: string): Promise<void> {
  await cancel(context, requestId, "CLIENT_GONE").catch((err: unknown) =>
    context.log.warn({ err, requestId }, "a request whose caller left is left to its deadline"),
  );
}
