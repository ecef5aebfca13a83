/** P1: every byte that a caller heard is covered by a verified ticket in the ledger for just those bytes, in order. */
import { fromBinary } from "@bufbuild/protobuf";
import { verifyReleaseTicket } from "@sallyport/attestation";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { type CommittedWindow, type LedgerRow, openHeldOutput, openWindows, sameEnvelope } from "../../kit/index.ts";
import type { Evidence, Transcript } from "../support/evidence.ts";
import { attempt, type Find, finding, type Violation } from "./violation.ts";

/** What the ledger let go of one request, verified: the windows of its stream, and what a person released whole. */
export interface Released {
  readonly windows: readonly CommittedWindow[];
  readonly whole: CommittedWindow | undefined;
}

export function checkCovered(evidence: Evidence): Violation[] {
  return finding("P1", (find) => {
    const released = releasedBy(evidence, find);
    const rows = new Map(evidence.rows.map((row) => [row.id, row]));
    for (const transcript of evidence.transcripts) {
      const { requestId, windows, state } = transcript;
      // Who was told that all is there, and has nothing, is asked about too.
      if (windows.length === 0 && state !== "released") continue;
      const row = rows.get(requestId ?? "");
      const found = released.get(requestId ?? "");
      if (!row || !found) find("a caller heard of a request that the ledger does not know", requestId);
      else holdAgainst(transcript, row, found, find);
    }
    for (const { requestId, text, ticket } of evidence.fetched) {
      const report = attempt(find, "a fetched ticket does not verify", requestId, () =>
        verifyReleaseTicket(ticket, evidence.trust, { at: "issue" }),
      );
      if (report && report.requestId !== requestId) find("a fetched ticket is about another request", requestId);
      const { windows = [], whole } = released.get(requestId) ?? {};
      if (text !== textOf(whole ? [whole] : windows)) find("what was fetched is not what was released", requestId);
    }
  });
}

function releasedBy(evidence: Evidence, find: Find): Map<string, Released> {
  const { rows, fresh, trust, secrets } = evidence;
  const windows = Map.groupBy(evidence.windows, ({ requestId }) => requestId);
  const outputs = new Map(
    evidence.holds.filter(({ stage }) => stage === "door2").map((hold) => [hold.requestId, hold]),
  );
  const open = (row: LedgerRow): Released => {
    const secret = secrets.get(row.id)!;
    const stored = windows.get(row.id) ?? [];
    const told = attempt(find, "the ledger released windows without a ticket that holds", row.id, () =>
      openWindows(trust, row, secret, stored),
    );
    const hold = outputs.get(row.id);
    const byPerson = row.state === "released" && hold !== undefined;
    if (told) checkComplete(row, told, byPerson, find);
    const held = byPerson
      ? attempt(find, "a held output was released without a ticket that holds", row.id, () =>
          openHeldOutput(trust, row, secret, hold),
        )
      : undefined;
    return { windows: told ?? [], whole: held };
  };
  return new Map(rows.filter(({ id }) => fresh.has(id)).map((row) => [row.id, open(row)]));
}

/** All that the ledger counts is there; an answer that is over ends where door 2 said so, unless a person released the whole. */
function checkComplete(row: LedgerRow, windows: readonly CommittedWindow[], byPerson: boolean, find: Find): void {
  if (windows.length !== row.windowsReleased)
    find(`the ledger has ${windows.length} windows, and counts ${row.windowsReleased}`, row.id);
  if (row.state === "released" && !byPerson && !windows.at(-1)?.final)
    find("released, but the ledger does not have its end", row.id);
}

function holdAgainst(transcript: Transcript, row: LedgerRow, { windows, whole }: Released, find: Find): void {
  const { requestId, via } = transcript;
  // Who comes back after a person released the whole gets that, in one piece.
  const choices = whole ? [[whole], windows] : [windows];
  if (!choices.some((committed) => isCovered(transcript, committed)))
    find(`a caller (${via}) heard bytes without a ticket`, requestId);
  if (transcript.state !== "released") return;
  if (!isWhole(transcript, whole && row.holdStage === "door2" ? [whole] : windows))
    find(`a caller (${via}) was told "released" but has not all of it`, requestId);
}

/** Window by window where the caller has them: the same place, the same bytes, the same ticket; and the text in order. */
function isCovered(transcript: Transcript, committed: readonly CommittedWindow[]): boolean {
  const exact = transcript.windows.every(({ exact, text }, at) => {
    if (!exact) return true;
    const there = committed[at];
    if (!there || there.attempt !== exact.attempt || there.index !== exact.index) return false;
    const same = Buffer.compare(there.content, exact.content) === 0 && sameEnvelope(there.envelope, exact.ticket);
    return same && text === textOf([there]);
  });
  return exact && textOf(committed).startsWith(heardText(transcript));
}

/** Who has windows with tickets has each of them, also one that ends the answer without a word. */
function isWhole(transcript: Transcript, all: readonly CommittedWindow[]): boolean {
  const { windows } = transcript;
  const exact = windows.length > 0 && windows.every((window) => window.exact);
  return heardText(transcript) === textOf(all) && (!exact || windows.length === all.length);
}

const heardText = ({ windows }: Transcript) => windows.map(({ text }) => text).join("");

export function textOf(windows: readonly CommittedWindow[]): string {
  return windows.map(({ content }) => fromBinary(WindowContentSchema, content).text).join("");
}
