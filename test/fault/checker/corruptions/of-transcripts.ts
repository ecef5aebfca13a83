/** What callers say that they heard, falsified. */
import type { Transcript } from "../../support/evidence.ts";
import { type Corruption, flipped, ofTranscript, otherDigit, replaced } from "./kind.ts";

const isExact = ({ windows }: Transcript) => windows.length > 0 && windows.every(({ exact }) => exact);
const hasTwo = (transcript: Transcript) => isExact(transcript) && transcript.windows.length > 1;
const isPlain = ({ windows }: Transcript) => windows.some(({ text, exact }) => !exact && /\w/.test(text));
const isReleased = ({ state }: Transcript) => state === "released";
const isBlocked = ({ state, requestId }: Transcript) => state === "blocked" && requestId !== undefined;

export const transcripts: readonly Corruption[] = [
  ofTranscript("a byte of a window that a caller heard", "P1", isExact, ({ windows }) => {
    const window = windows.at(-1)!;
    const exact = { ...window.exact!, content: flipped(window.exact!.content) };
    return { windows: replaced(windows, window, [{ ...window, exact }]) };
  }),
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
    // A window without text is missed only by who can count them.
    (transcript) => isReleased(transcript) && (hasTwo(transcript) || !!transcript.windows.at(-1)?.text),
    ({ windows }) => ({ windows: windows.slice(0, -1) }),
  ),
  ofTranscript("a window after the end", "P1", isBlocked, ({ events }) => ({ events: [...events, "window"] })),
  ofTranscript(
    "two outcomes",
    "P1",
    ({ state }) => state !== undefined,
    ({ events }) => ({ events: [...events, "outcome"] }),
  ),
  ofTranscript("success, then failure", "P1", isReleased, () => ({
    error: { code: "BLOCKED", reason: "TEST_BLOCK" },
  })),
  ofTranscript("a caller told that a blocked request was released", "P2", isBlocked, () => ({ state: "released" })),
  ofTranscript("an answer released that a door has to stop", "P1", isReleased, () => ({ expected: "blocked" })),
  ofTranscript(
    "another leaf hash told",
    "P3",
    ({ leafHash }) => leafHash !== undefined,
    ({ leafHash }) => ({ leafHash: otherDigit(leafHash!) }),
  ),
  ofTranscript(
    "an id that the ledger does not know",
    "P2",
    ({ requestId }) => requestId !== undefined,
    () => ({ requestId: "00000000-0000-7000-8000-000000000000" }),
  ),
  ofTranscript(
    "a second request under the same key",
    "P2",
    ({ repeats, requestId }) => repeats?.requestId !== undefined && requestId !== undefined,
    ({ repeats }) => ({ repeats: { ...repeats!, requestId: "00000000-0000-7000-8000-000000000000" } }),
  ),
  {
    what: "a fetched answer that is not what was released",
    promise: "P1",
    ways: (evidence) =>
      evidence.fetched.map((one) => () => ({
        ...evidence,
        fetched: replaced(evidence.fetched, one, [{ ...one, text: `${one.text}!` }]),
      })),
  },
  {
    what: "a fetched ticket of another request",
    promise: "P1",
    ways: (evidence) =>
      evidence.fetched.flatMap((one) => {
        const other = evidence.fetched.find(({ requestId }) => requestId !== one.requestId);
        if (!other) return [];
        const wrong = { ...one, ticket: other.ticket };
        return [() => ({ ...evidence, fetched: replaced(evidence.fetched, one, [wrong]) })];
      }),
  },
];
