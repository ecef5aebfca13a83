/** The ledger, its windows, its outbox and the review queue, falsified. */
import type { Evidence } from "../../support/evidence.ts";
import { type Corruption, flipped, ofRow, otherDigit, replaced } from "./kind.ts";

export const ledger: readonly Corruption[] = [
  ofRow(
    "a request missing in the ledger",
    "P2",
    ({ endedAt }) => endedAt !== null,
    () => undefined,
  ),
  ofRow(
    "a request that never ended",
    "P2",
    ({ state }) => state === "released",
    () => ({ state: "running", endedAt: null }),
  ),
  ofRow(
    "an ending that was rewritten",
    "P2",
    ({ state }) => state === "blocked",
    () => ({ state: "released" }),
  ),
  ofRow(
    "a leaf hash that was rewritten",
    "P2",
    ({ endedAt }) => endedAt !== null,
    ({ leafHash }) => ({ leafHash: otherDigit(leafHash) }),
  ),
  {
    what: "a released window without its row",
    promise: "P1",
    ways: (evidence) =>
      lastWindows(evidence).map((last) => () => ({ ...evidence, windows: replaced(evidence.windows, last, []) })),
  },
  {
    what: "a heard answer of which the ledger knows nothing",
    promise: "P1",
    ways: (evidence) => streamed(evidence).map((id) => () => forgetting(evidence, id, 0)),
  },
  {
    what: "an answer without its end, in the ledger and with whoever heard it",
    promise: "P1",
    ways: (evidence) => streamed(evidence, "released").map((id) => () => withoutEnd(evidence, id)),
  },
  {
    what: "a byte of a ticket in the ledger",
    promise: "P1",
    ways: (evidence) =>
      evidence.windows.map((row) => () => ({
        ...evidence,
        windows: replaced(evidence.windows, row, [{ ...row, envelope: flipped(row.envelope) }]),
      })),
  },
  {
    what: "another request's ticket and bytes in the ledger",
    promise: "P1",
    ways: (evidence) =>
      evidence.windows.flatMap((row) => {
        const other = evidence.windows.find(
          ({ requestId, index }) => requestId !== row.requestId && index === row.index,
        );
        if (!other) return [];
        const wrong = { ...row, envelope: other.envelope, content: other.content };
        return [() => ({ ...evidence, windows: replaced(evidence.windows, row, [wrong]) })];
      }),
  },
  {
    what: "a message left in an outbox",
    promise: "P2",
    ways: (evidence) => [() => ({ ...evidence, outbox: ["one of the gateway's"] })],
  },
  {
    what: "a held request that is in nobody's queue",
    promise: "P2",
    ways: (evidence) =>
      evidence.rows
        .filter(({ state, holdStage }) => state === "held" && holdStage !== "collecting")
        .map(({ id }) => () => ({ ...evidence, queue: new Set([...evidence.queue].filter((other) => other !== id)) })),
  },
];

function lastWindows({ windows }: Evidence) {
  return [...Map.groupBy(windows, ({ requestId }) => requestId).values()].map((own) => own.at(-1)!);
}

/** Requests that callers heard from their stream: what a person released is heard whole, and has a row of its own. */
function streamed({ transcripts, rows, holds, windows }: Evidence, state?: string): string[] {
  const heard = new Set(transcripts.filter((one) => one.windows.some(({ text }) => text)).map((one) => one.requestId));
  const whole = new Set(holds.filter(({ stage }) => stage === "door2").map(({ requestId }) => requestId));
  const stored = new Set(windows.map(({ requestId }) => requestId));
  const fitting = rows.filter((row) => state === undefined || row.state === state).map(({ id }) => id);
  return fitting.filter((id) => heard.has(id) && stored.has(id) && !whole.has(id));
}

/** Its ledger kept so many windows, and counts no more. */
function forgetting(evidence: Evidence, id: string, kept: number): Evidence {
  return {
    ...evidence,
    rows: evidence.rows.map((row) => (row.id === id ? { ...row, windowsReleased: kept } : row)),
    windows: evidence.windows.filter(({ requestId, index }) => requestId !== id || index < kept),
  };
}

function withoutEnd(evidence: Evidence, id: string): Evidence {
  const kept = evidence.windows.filter(({ requestId }) => requestId === id).length - 1;
  const transcripts = evidence.transcripts.map((one) =>
    one.requestId === id ? { ...one, windows: one.windows.slice(0, kept) } : one,
  );
  return { ...forgetting(evidence, id, kept), transcripts };
}
