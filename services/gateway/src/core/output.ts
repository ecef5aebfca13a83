/** A released output, read back from the ledger and verified again, with the ticket file for `sallyport ticket verify`. */
import { encodeReleaseTicket, open } from "@sallyport/attestation";
import type { Context } from "../context.ts";
import { findHold, listWindows, type RequestRow } from "../db/ledger.ts";
import { readEnvelope, readJob } from "./messages.ts";

export interface Output {
  /** Serialised WindowContent, in order. */
  readonly contents: readonly Uint8Array[];
  /** Release ticket, JSON. */
  readonly ticket: string;
}

export async function readOutput(context: Context, row: RequestRow): Promise<Output> {
  const { stored, held } = await context.db.transaction(async (tx) => ({
    stored: await listWindows(tx, row.id, row.attempt),
    held: row.holdStage === "door2" ? await findHold(tx, row.id, "door2") : undefined,
  }));
  const secret = await context.runs.secretOf(row);
  const { door1, review, countersign } = readJob(row).admission!;
  const ticket = {
    requestId: row.id,
    tenant: row.tenant,
    attempt: row.attempt,
    modality: "text" as const,
    salt: secret.salt,
    requestDigest: row.requestDigest,
    admission: [door1!, ...(review && countersign ? [review, countersign] : [])],
    claim: readEnvelope(row.claim!),
  };
  if (held?.review && held.countersign && held.content) {
    const content = open(secret, { requestId: row.id, kind: "output", attempt: held.attempt, index: 0 }, held.content);
    const release = {
      hold: readEnvelope(held.hold),
      review: readEnvelope(held.review),
      countersign: readEnvelope(held.countersign),
      content,
    };
    return { contents: [content], ticket: encodeReleaseTicket({ ...ticket, windows: [], held: release }) };
  }
  const windows = await context.runs.openWindows(row, stored);
  const parts = windows.map(({ ticket: envelope, content }) => ({ envelope, content }));
  return {
    contents: windows.map(({ content }) => content),
    ticket: encodeReleaseTicket({ ...ticket, windows: parts }),
  };
}
