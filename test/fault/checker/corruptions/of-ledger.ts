/** The ledger, its windows, its outbox and the review queue, falsified. */
import { type Corruption, flipped, ofRow } from "./kind.ts";

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
    () => ({
      state: "running",
      endedAt: null,
    }),
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
    ({ leafHash }) => ({
      leafHash: leafHash.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
    }),
  ),
  {
    what: "a released window without its row",
    promise: "P1",
    spoil: (evidence) => {
      const heard = evidence.transcripts.find(({ windows }) => windows.some(({ exact }) => exact))?.requestId;
      return heard === undefined
        ? undefined
        : { ...evidence, windows: evidence.windows.filter(({ requestId }) => requestId !== heard) };
    },
  },
  {
    what: "a byte of a ticket in the ledger",
    promise: "P1",
    spoil: (evidence) =>
      evidence.windows.length === 0
        ? undefined
        : {
            ...evidence,
            windows: evidence.windows.map((row, at) => (at > 0 ? row : { ...row, envelope: flipped(row.envelope) })),
          },
  },
  {
    what: "another request's ticket and bytes in the ledger",
    promise: "P1",
    spoil(evidence) {
      const [first] = evidence.windows;
      const other = evidence.windows.find(
        ({ requestId, index }) => requestId !== first?.requestId && index === first?.index,
      );
      if (!first || !other) return undefined;
      const wrong = { ...first, envelope: other.envelope, content: other.content };
      return { ...evidence, windows: evidence.windows.map((row) => (row === first ? wrong : row)) };
    },
  },
  {
    what: "a message left in an outbox",
    promise: "P2",
    spoil: (evidence) => ({ ...evidence, outbox: ["one of the gateway's"] }),
  },
  {
    what: "a held request that is in nobody's queue",
    promise: "P2",
    spoil: (evidence) =>
      evidence.rows.some(({ state }) => state === "held") ? { ...evidence, queue: new Set() } : undefined,
  },
];
