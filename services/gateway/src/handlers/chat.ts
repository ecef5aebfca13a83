/** One chat, for gRPC and HTTP alike: admitted, followed, and cancelled when its caller goes away. */
import { AppError } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { admit, type ChatCall } from "../core/admit.ts";
import { type FollowEvent, follow } from "../core/follow.ts";
import { cancel } from "../core/reconciler.ts";
import type { RequestRow } from "../db/ledger.ts";
import { outcomes } from "../domain/outcomes.ts";

export type ChatEvent = { accepted: RequestRow } | FollowEvent;

/** The ledger ends a request at its deadline; the caller gets this much more time to hear so. */
const graceMs = 2_000;

/** Ends in time, with an error of its own, also when the ledger does not answer. */
export async function* chat(context: Context, call: ChatCall): AsyncGenerator<ChatEvent> {
  const events = followed(context, call);
  const { promise: late, reject } = Promise.withResolvers<never>();
  late.catch(() => {});
  let expired = false;
  const timer = setTimeout(() => {
    expired = true;
    reject(new AppError("DEADLINE_EXCEEDED", outcomes.DEADLINE_EXCEEDED));
  }, context.limits.requestDeadlineMs + graceMs);
  try {
    for (;;) {
      const step = await Promise.race([events.next(), late]);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    clearTimeout(timer);
    const closed = events.return(undefined);
    // Past the deadline it may wait for the very part that is away: the caller does not.
    if (expired) closed.catch((error: unknown) => context.log.warn({ err: error }, "a late request was left"));
    else await closed;
  }
}

async function* followed(context: Context, call: ChatCall): AsyncGenerator<ChatEvent> {
  using _slot = context.inFlight.enter();
  const { row, repeated } = await admit(context, call);
  using follower = context.live.follow(row.id);
  let settled = false;
  try {
    yield { accepted: row };
    if (row.state === "blocked" || (row.state === "held" && !repeated)) {
      settled = true;
      yield { outcome: row };
      return;
    }
    // Between the commit and `follow` a verdict may have come: the ledger knows.
    const { db, runs } = context;
    for await (const event of follow({ db, runs, follower, requestId: row.id, signal: call.signal, catchUp: true })) {
      if ("outcome" in event) settled = true;
      yield event;
    }
  } finally {
    // With an idempotency key the work goes on: the caller comes back for its outcome.
    if (!settled && !call.idempotencyKey) await cancel(context, row.id, "CLIENT_GONE");
  }
}
