/** What waits, or waited, for a person: door 1's hold of a prompt, door 2's hold of a whole output. */
import type { Tx } from "@sallyport/runtime";

export interface HoldRow {
  stage: "door1" | "door2";
  attempt: number;
  hold: Uint8Array;
  content: Uint8Array | null;
  review: Uint8Array | null;
  countersign: Uint8Array | null;
  allowed: boolean | null;
}

export async function insertHold(
  tx: Tx,
  id: string,
  held: Pick<HoldRow, "stage" | "attempt" | "hold" | "content">,
): Promise<void> {
  const sql = "INSERT INTO holds (request_id, stage, attempt, hold, content) VALUES ($1, $2, $3, $4, $5)";
  await tx.query(sql, [id, held.stage, held.attempt, held.hold, held.content]);
}

export async function findHold(tx: Tx, id: string, stage: HoldRow["stage"]): Promise<HoldRow | undefined> {
  const sql =
    "SELECT stage, attempt, hold, content, review, countersign, allowed FROM holds WHERE request_id = $1 AND stage = $2";
  return (await tx.query<HoldRow>(sql, [id, stage])).rows[0];
}

/** True for the first decision on a hold; a second one changes nothing. */
export async function decideHold(
  tx: Tx,
  id: string,
  held: Pick<HoldRow, "stage" | "review" | "countersign" | "allowed">,
): Promise<boolean> {
  const sql =
    "UPDATE holds SET review = $3, countersign = $4, allowed = $5 WHERE request_id = $1 AND stage = $2 AND allowed IS NULL";
  return (await tx.query(sql, [id, held.stage, held.review, held.countersign, held.allowed])).rowCount === 1;
}
