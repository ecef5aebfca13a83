/** A released output, read back from the ledger and verified again, with the ticket file for `sallyport ticket verify`. */
import { type Envelope, encodeReleaseTicket, open } from "@sallyport/attestation";
import type { Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { findHold } from "../db/holds.ts";
import type { RequestRow } from "../db/ledger.ts";
import { listWindows } from "../db/windows.ts";
import { type Chain, chainOf } from "./chain.ts";
import { readEnvelope } from "./messages.ts";
import type { Runs } from "./runs.ts";

export interface Output {
  /** Serialised WindowContent, in order. */
  readonly contents: readonly Uint8Array[];
  /** Release ticket, JSON. */
  readonly ticket: string;
}

export interface HeldOutput {
  readonly attempt: number;
  /** Serialised WindowContent: the whole output. */
  readonly content: Uint8Array;
  readonly release: { readonly hold: Envelope; readonly review: Envelope; readonly countersign: Envelope };
  readonly chain: Chain;
}

/** What a person released of a request, or undefined. The returned function opens and verifies it, outside the transaction. */
export async function readHeldOutput(
  tx: Tx,
  runs: Runs,
  row: RequestRow,
): Promise<(() => Promise<HeldOutput>) | undefined> {
  if (row.state !== "released" || row.holdStage !== "door2") return undefined;
  const held = await findHold(tx, row.id, "door2");
  const { attempt, content: sealed, review, countersign } = held ?? {};
  if (!held || attempt === undefined || !sealed || !review || !countersign) return undefined;
  return async () => {
    const secret = await runs.secretOf(row);
    const content = open(secret, { requestId: row.id, kind: "output", attempt, index: 0 }, sealed);
    const envelopes = [held.hold, review, countersign].map(readEnvelope) as [Envelope, Envelope, Envelope];
    const { verifier } = await runs.verifierOf(row);
    verifier.heldOutput(...envelopes, content);
    const [hold, reviewed, countersigned] = envelopes;
    const release = { hold, review: reviewed, countersign: countersigned };
    return { attempt, content, release, chain: chainOf(row, secret.salt) };
  };
}

export async function readOutput({ db, runs }: Context, row: RequestRow): Promise<Output> {
  const { stored, whole } = await db.transaction(async (tx) => ({
    stored: await listWindows(tx, row.id, row.attempt),
    whole: await readHeldOutput(tx, runs, row),
  }));
  const secret = await runs.secretOf(row);
  const about = { requestId: row.id, attempt: row.attempt, modality: "text" as const };
  const ticket = { ...about, ...chainOf(row, secret.salt) };
  if (whole) {
    const { content, release } = await whole();
    const held = { ...release, content };
    return { contents: [content], ticket: encodeReleaseTicket({ ...ticket, windows: [], held }) };
  }
  const windows = await runs.openWindows(row, stored);
  const parts = windows.map(({ ticket: envelope, content }) => ({ envelope, content }));
  return {
    contents: windows.map(({ content }) => content),
    ticket: encodeReleaseTicket({ ...ticket, windows: parts }),
  };
}
