/** Closes items whose time is over. The gateway blocks the request by its own clock; here it leaves the queue. */
import { periodically } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { expireItems } from "../db/items.ts";
import { auditEvent } from "../events.ts";

const everyMs = 1_000;
const batch = 100;

export function startItemExpiry(context: Context): AsyncDisposable {
  return periodically(context.log, everyMs, "close expired items", () => expire(context));
}

async function expire({ outbox, clock, log }: Context): Promise<void> {
  const expired = await outbox.commit(async (tx) => {
    const items = await expireItems(tx, clock.now(), batch);
    const decision = { stage: "review", decision: "deny", code: "REVIEW_EXPIRED" };
    const messages = items.map((item) =>
      auditEvent({ event: "review.decided", item, decision, detail: { expired: true } }),
    );
    return { value: items, messages };
  });
  if (expired.length > 0) log.info({ items: expired.length }, "review items expired");
}
