/** One chat, for gRPC and HTTP alike: admitted, followed, and cancelled when its caller goes away. */
import type { Context } from "../context.ts";
import { admit, type ChatCall } from "../core/admit.ts";
import { type FollowEvent, follow } from "../core/follow.ts";
import { cancel } from "../core/reconciler.ts";
import type { RequestRow } from "../db/ledger.ts";

export type ChatEvent = { accepted: RequestRow } | FollowEvent;

export async function* chat(context: Context, call: ChatCall): AsyncGenerator<ChatEvent> {
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
