/** Released windows: each ticket, and the bytes that it is over as ciphertext. Only added, never changed. */
import type { Tx } from "@sallyport/runtime";

export interface WindowRow {
  attempt: number;
  index: number;
  envelope: Uint8Array;
  content: Uint8Array;
  final: boolean;
}

/**
 * Stores the window and counts it, only if it is the next one of the current attempt of a running request; the first one
 * brings the run's claim where that is not stored yet. False: the attempt is over.
 */
export async function releaseWindow(tx: Tx, id: string, window: WindowRow, claim: Uint8Array, now: Date) {
  const sql = `WITH counted AS (
      UPDATE requests SET state = 'running', claim = coalesce(claim, $5), windows_released = $3::integer + 1, progress_at = $4
      WHERE id = $1 AND attempt = $2 AND windows_released = $3 AND (state = 'running' OR (state = 'queued' AND $3 = 0))
      RETURNING id)
    INSERT INTO windows (request_id, attempt, index, envelope, content, final)
    SELECT id, $2, $3, $6, $7, $8 FROM counted`;
  const { attempt, index, envelope, content, final } = window;
  return (await tx.query(sql, [id, attempt, index, now, claim, envelope, content, final])).rowCount === 1;
}

export async function listWindows(tx: Tx, id: string, attempt: number): Promise<WindowRow[]> {
  const sql =
    "SELECT attempt, index, envelope, content, final FROM windows WHERE request_id = $1 AND attempt = $2 ORDER BY index";
  return (await tx.query<WindowRow>(sql, [id, attempt])).rows;
}
