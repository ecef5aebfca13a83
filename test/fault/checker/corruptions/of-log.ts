/** The log, its proofs, and the records of models and people, falsified. */
import type { StoredHold } from "../../../kit/index.ts";
import type { Evidence } from "../../support/evidence.ts";
import { isTerminal, type LoggedRecord, parseRecord } from "../../support/log.ts";
import { type Corruption, flipped, ofRecord, replaced } from "./kind.ts";

const isFresh = ({ request }: LoggedRecord, { fresh }: Evidence) => fresh.has(request?.id ?? "");

export const log: readonly Corruption[] = [
  ofRecord("a record missing", "P3", isFresh, () => []),
  // Behind a boot's last number nobody can miss one: that nothing lies in its outbox is what speaks for it then.
  ofRecord("a record missing in a producer's numbering", "P2", isFollowed, () => []),
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
    // Every log goes on from an empty one.
    ways: (evidence) =>
      evidence.before.size === 0
        ? []
        : [() => ({ ...evidence, before: { ...evidence.before, root: flipped(evidence.before.root) } })],
  },
  {
    what: "one record's proof for another",
    promise: "P3",
    ways: (evidence) =>
      [...evidence.proofs].flatMap(([leaf], at, all) => {
        const [other, proof] = all[(at + 1) % all.length]!;
        return other === leaf ? [] : [() => ({ ...evidence, proofs: new Map(evidence.proofs).set(leaf, proof) })];
      }),
  },
];

export const modelsAndPeople: readonly Corruption[] = [
  {
    what: "a model that nobody approved",
    promise: "P5",
    ways: (evidence) =>
      evidence.rows
        .filter(({ id, claim }) => claim && evidence.fresh.has(id))
        .map((row) => () => {
          const approvedModels = new Set([...evidence.approvedModels].filter((model) => model !== row.modelDigest));
          return { ...evidence, approvedModels };
        }),
  },
  ofHold("a held output without its review", "P7", isReleasedOutput, { review: null }),
  ofHold("a held output without door 2's countersignature", "P1", isReleasedOutput, { countersign: null }),
  ofHold(
    "a held prompt let in without its review",
    "P7",
    ({ stage, allowed }) => stage === "door1" && allowed === true,
    {
      review: null,
    },
  ),
  ofHold("an output released that nobody let go", "P7", isReleasedOutput, { allowed: false }),
  ofRecord("a release of which the log knows nobody's word", "P7", isLastWord, (record) => [
    { ...record, event: "review.read" },
  ]),
  {
    what: "a window heard while a switch held",
    promise: "P8",
    ways: (evidence) =>
      evidence.transcripts
        .filter(({ windows }) => evidence.pauses.length > 0 && windows.some(({ heardAt }) => heardAt !== undefined))
        .map(({ person }) => () => {
          const whole = { from: 0, until: Number.POSITIVE_INFINITY, affects: [person] };
          return { ...evidence, pauses: evidence.pauses.map((pause) => ({ ...pause, ...whole })) };
        }),
  },
  ofRecord(
    "a switch of which the log knows nothing",
    "P8",
    ({ event, detail }, { pauses }) =>
      ["switch.paused", "switch.resumed"].includes(event) && pauses.some(({ id }) => id === detail?.switch),
    () => [],
  ),
];

function isFollowed(record: LoggedRecord, evidence: Evidence): boolean {
  const { producer, epoch, sequence } = record;
  const later = (other: LoggedRecord) =>
    other.producer === producer && other.epoch === epoch && other.sequence > sequence;
  return isFresh(record, evidence) && evidence.records.some(later);
}

/** The word by which a hold was let go, and not the first of two. */
function isLastWord({ event, decision, detail, request }: LoggedRecord, { holds }: Evidence): boolean {
  if (event !== "review.decided" || decision?.decision !== "allow" || detail?.awaitsSecond !== false) return false;
  return holds.some(({ requestId, stage, allowed }) => allowed && requestId === request?.id && stage === detail?.stage);
}

function isReleasedOutput({ stage, allowed, requestId }: StoredHold, { rows }: Evidence): boolean {
  const released = rows.some(({ id, state }) => id === requestId && state === "released");
  return stage === "door2" && allowed === true && released;
}

function ofHold(
  what: string,
  promise: Corruption["promise"],
  fits: (hold: StoredHold, evidence: Evidence) => boolean,
  change: Partial<StoredHold>,
): Corruption {
  return {
    what,
    promise,
    ways: (evidence) =>
      evidence.holds
        .filter((hold) => fits(hold, evidence))
        .map((hold) => () => ({ ...evidence, holds: replaced(evidence.holds, hold, [{ ...hold, ...change }]) })),
  };
}
