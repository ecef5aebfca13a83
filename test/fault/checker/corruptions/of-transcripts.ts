/** What callers say that they heard, falsified. */
import type { Transcript } from "../../support/evidence.ts";
import { type Corruption, flipped, ofTranscript } from "./kind.ts";

const isExact = ({ windows }: Transcript) => windows.some(({ exact }) => exact);
const hasTwo = ({ windows }: Transcript) => windows.length > 1 && windows.every(({ exact }) => exact);
const isPlain = ({ windows }: Transcript) => windows.some(({ text, exact }) => !exact && text.length > 3);

export const transcripts: readonly Corruption[] = [
  ofTranscript("a byte of a window that a caller heard", "P1", isExact, ({ windows }) => ({
    windows: windows.map((window, at) =>
      at > 0 || !window.exact
        ? window
        : { ...window, exact: { ...window.exact, content: flipped(window.exact.content) } },
    ),
  })),
  ofTranscript("a letter of an answer heard without tickets", "P1", isPlain, ({ windows }) => ({
    windows: windows.map(({ text }) => ({ text: text.replace(/\w/, "#") })),
  })),
  ofTranscript("two windows' tickets swapped", "P1", hasTwo, ({ windows: [first, second, ...rest] }) => ({
    windows: [
      { ...first!, exact: { ...first!.exact!, ticket: second!.exact!.ticket } },
      { ...second!, exact: { ...second!.exact!, ticket: first!.exact!.ticket } },
      ...rest,
    ],
  })),
  ofTranscript("two windows in the wrong order", "P1", hasTwo, ({ windows: [first, second, ...rest] }) => ({
    windows: [second!, first!, ...rest],
  })),
  ofTranscript("a window too many", "P1", isExact, ({ windows }) => ({ windows: [...windows, windows.at(-1)!] })),
  ofTranscript(
    "the last window of a whole answer missing",
    "P1",
    ({ state, windows }) => state === "released" && windows.at(-1)?.text !== undefined && windows.at(-1)!.text !== "",
    ({ windows }) => ({ windows: windows.slice(0, -1) }),
  ),
  ofTranscript(
    "a window after the end",
    "P1",
    ({ state }) => state === "blocked",
    ({ events }) => ({
      events: [...events, "window"],
    }),
  ),
  ofTranscript(
    "two outcomes",
    "P1",
    ({ state }) => state !== undefined,
    ({ events }) => ({
      events: [...events, "outcome"],
    }),
  ),
  ofTranscript(
    "success, then failure",
    "P1",
    ({ state }) => state === "released",
    () => ({
      error: { code: "BLOCKED", reason: "TEST_BLOCK" },
    }),
  ),
  ofTranscript(
    "a caller told that a blocked request was released",
    "P2",
    ({ state }) => state === "blocked",
    () => ({
      state: "released",
    }),
  ),
  ofTranscript(
    "an answer released that a door has to stop",
    "P1",
    ({ state }) => state === "released",
    () => ({ expected: "blocked" }),
  ),
  ofTranscript(
    "another leaf hash told",
    "P3",
    ({ leafHash }) => leafHash !== undefined,
    ({ leafHash }) => ({
      leafHash: leafHash!.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
    }),
  ),
  ofTranscript(
    "an id that the ledger does not know",
    "P2",
    ({ requestId }) => requestId !== undefined,
    () => ({
      requestId: "00000000-0000-7000-8000-000000000000",
    }),
  ),
  ofTranscript(
    "a second request under the same key",
    "P2",
    ({ repeats, requestId }) => repeats?.requestId !== undefined && requestId !== undefined,
    ({ repeats }, others) => ({
      requestId: others.find(({ requestId }) => requestId && requestId !== repeats!.requestId)!.requestId,
    }),
  ),
];
