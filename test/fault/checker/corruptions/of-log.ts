/** The log, its proofs, and the records of models and people, falsified. */
import type { Evidence } from "../../support/evidence.ts";
import { isTerminal, type LoggedRecord, parseRecord } from "../../support/log.ts";
import { type Corruption, flipped, ofRecord } from "./kind.ts";

const isFresh = ({ request }: LoggedRecord, { fresh }: Evidence) => fresh.has(request?.id ?? "");

export const log: readonly Corruption[] = [
  ofRecord("a record missing", "P3", isFresh, () => []),
  ofRecord("a record missing in a producer's numbering", "P2", isFresh, () => []),
  ofRecord("a byte of a record", "P3", isFresh, (record) => [
    parseRecord(
      Buffer.from(
        Buffer.from(record.bytes)
          .toString()
          .replace(/"sequence":(\d)/, (_all, digit) => `"sequence":${(Number(digit) + 1) % 10 || 1}`),
      ),
    ),
  ]),
  ofRecord(
    "two endings",
    "P2",
    (record, evidence) => isTerminal(record) && isFresh(record, evidence),
    (record) => [record, { ...record, event: "request.failed" }],
  ),
  ofRecord(
    "an ending that the log does not have",
    "P2",
    (record, evidence) => isTerminal(record) && isFresh(record, evidence),
    (record) => [{ ...record, event: "request.accepted" }],
  ),
  {
    what: "an older head that leads to another log",
    promise: "P3",
    spoil: (evidence) => ({ ...evidence, before: { ...evidence.before, root: flipped(evidence.before.root) } }),
  },
  {
    what: "one record's proof for another",
    promise: "P3",
    spoil(evidence) {
      const [first, second] = [...evidence.proofs];
      return first && second
        ? { ...evidence, proofs: new Map([...evidence.proofs, [first[0], second[1]]]) }
        : undefined;
    },
  },
];

export const modelsAndPeople: readonly Corruption[] = [
  {
    what: "a model that nobody approved",
    promise: "P5",
    spoil: (evidence) => ({ ...evidence, approvedModels: new Set(["0".repeat(64)]) }),
  },
  {
    what: "a held output without its review",
    promise: "P7",
    spoil: (evidence) => withoutReview(evidence, { review: null }),
  },
  {
    what: "a held output without door 2's countersignature",
    promise: "P1",
    spoil: (evidence) => withoutReview(evidence, { countersign: null }),
  },
  ofRecord(
    "a release of which the log knows nobody's word",
    "P7",
    (record, evidence) =>
      record.event === "review.decided" && record.decision?.decision === "allow" && isFresh(record, evidence),
    (record) => [{ ...record, event: "review.read" }],
  ),
  {
    what: "a window heard while a switch held",
    promise: "P8",
    spoil: (evidence) => {
      const heard = evidence.transcripts.find(({ windows }) => windows.length > 0);
      if (!heard || evidence.pauses.length === 0) return undefined;
      const whole = { from: 0, until: Number.POSITIVE_INFINITY, affects: [heard.person] };
      return { ...evidence, pauses: evidence.pauses.map((pause) => ({ ...pause, ...whole })) };
    },
  },
  ofRecord(
    "a switch of which the log knows nothing",
    "P8",
    ({ event, detail }, { pauses }) => event === "switch.paused" && pauses.some(({ id }) => id === detail?.switch),
    () => [],
  ),
];

function withoutReview(evidence: Evidence, change: { review?: null; countersign?: null }): Evidence | undefined {
  const released = new Set(evidence.rows.filter(({ state }) => state === "released").map(({ id }) => id));
  const chosen = evidence.holds.find(
    ({ stage, allowed, requestId }) => stage === "door2" && allowed && released.has(requestId),
  );
  if (!chosen) return undefined;
  return { ...evidence, holds: evidence.holds.map((hold) => (hold === chosen ? { ...hold, ...change } : hold)) };
}
