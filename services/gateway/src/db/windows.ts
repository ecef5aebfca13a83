/** Released windows: each ticket, and the bytes that it is over as ciphertext. Only added, never changed. */
import type { Tx } from "@sallyport/runtime";

export interface WindowRow {
  attempt: number;
  index: number;
  envelope: Uint8Array;
  content: Uint8Array;
  final: boolean;
}

export async function insertWindow(tx: Tx, id: string, window: WindowRow): Promise<void> {
  await tx.query(
    "INSERT INTO windows (request_id, attempt, index, envelope, content, final) VALUES ($1, $2, $3, $4, $5, $6)",
    [id, window.attempt, window.index, window.envelope, window.content, window.final],
  );
}

export async function listWindows(tx: Tx, id: string, attempt: number): Promise<WindowRow[]> {
  const sql =
    "SELECT attempt, index, envelope, content, final FROM windows WHERE request_id = $1 AND attempt = $2 ORDER BY index";
  return (await tx.query<WindowRow>(sql, [id, attempt])).rows;
}
