import type { DeadLetter } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Context } from "../context.ts";
import { countDeadLetter } from "../metrics.ts";

/** What failed for good anywhere is kept and told, so that somebody looks. */
export async function receiveDeadLetter({ db, clock, log }: Context, letter: DeadLetter, msgId: string): Promise<void> {
  const { stream, subject, requestId, reason, deliveries, payload } = letter;
  const sql = `INSERT INTO dead_letters (msg_id, stream, subject, request_id, reason, deliveries, payload, received_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`;
  const { rowCount } = await db.transaction((tx) =>
    tx.query(sql, [msgId, stream, subject, requestId, reason, Math.min(deliveries, 2 ** 31 - 1), payload, clock.now()]),
  );
  if (rowCount === 1) countDeadLetter(stream, reason);
  log.error({ stream, subject, requestId, reason, deliveries }, "a message failed for good");
}
