import type { Context } from "../context.ts";
import { findRequest, type RequestRow } from "../db/ledger.ts";
import type { Told } from "./moves.ts";

/** A caller's own ending of a request: cancelled by hand, or gone. The row as it is then; undefined for an unknown id. */
export async function cancel(
  context: Context,
  requestId: string,
  code: "CANCELLED" | "CLIENT_GONE",
): Promise<RequestRow | undefined> {
  const decide = (row: RequestRow) => (code === "CANCELLED" ? cancelled(row, code) : gone(row, context.clock.now()));
  const ended = await context.moves.end(requestId, decide);
  return ended ?? context.db.transaction((tx) => findRequest(tx, requestId));
}

const cancelled = ({ windowsReleased }: RequestRow, code: string): Told => ({
  state: "cancelled",
  code,
  stage: "gateway",
  detail: { windowsReleased },
});

/** What is held is fetched later, so nobody has to stay for it. A caller whose deadline ran out is not one that left. */
function gone(row: RequestRow, now: Date): Told | undefined {
  if (row.state === "held") return undefined;
  const late = row.deadlineAt <= now;
  return late ? { ...cancelled(row, "DEADLINE_EXCEEDED"), state: "failed" } : cancelled(row, "CLIENT_GONE");
}
