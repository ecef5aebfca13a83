/** What is queued or runs, without its bodies: cheap enough to be asked every second. */
import type { Queryable } from "@sallyport/runtime";
import type { RequestRow } from "./ledger.ts";

export interface LiveRequest extends Pick<RequestRow, "id" | "model" | "attempt" | "tenant" | "issuer" | "subject"> {
  /** When it came to the queue. */
  readonly since: Date;
  /** Nobody has begun it, as far as the ledger knows. */
  readonly queued: boolean;
  /** Of the gateway that asks. */
  readonly own: boolean;
}

/** Everybody's that runs, also a held output whose rest door 2 still reads; queued, only one gateway's own. */
export async function listAtWork(db: Queryable, gatewayId: string): Promise<LiveRequest[]> {
  const sql = `SELECT id, model, attempt, tenant, issuer, subject, dispatched_at AS since, state = 'queued' AS queued, gateway_id = $1 AS own
    FROM requests WHERE (state = 'queued' AND gateway_id = $1) OR state = 'running'
      OR (state = 'held' AND deadline_at > now() AND hold_stage = 'collecting')`;
  return (await db.query<LiveRequest>(sql, [gatewayId])).rows;
}
