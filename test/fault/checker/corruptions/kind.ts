/** Evidence with one thing wrong in it, which the checker must find. */
import type { LedgerRow } from "../../../kit/index.ts";
import type { Evidence, Transcript } from "../../support/evidence.ts";
import type { LoggedRecord } from "../../support/log.ts";
import { pick, type Random } from "../../support/random.ts";
import type { Violation } from "../violation.ts";

export interface Corruption {
  readonly what: string;
  readonly promise: Violation["promise"];
  /** Undefined where there is nothing to spoil so. */
  readonly spoil: (evidence: Evidence, random: Random) => Evidence | undefined;
}

export const ofTranscript = (
  what: string,
  promise: Violation["promise"],
  fits: (transcript: Transcript) => boolean,
  change: (transcript: Transcript, others: readonly Transcript[]) => Partial<Transcript>,
): Corruption => ({
  what,
  promise,
  spoil(evidence, random) {
    const chosen = choose(evidence.transcripts, fits, random);
    if (!chosen) return undefined;
    const wrong = { ...chosen, ...change(chosen, evidence.transcripts) };
    return { ...evidence, transcripts: evidence.transcripts.map((one) => (one === chosen ? wrong : one)) };
  },
});

export const ofRow = (
  what: string,
  promise: Violation["promise"],
  fits: (row: LedgerRow) => boolean,
  change: (row: LedgerRow) => Partial<LedgerRow> | undefined,
): Corruption => ({
  what,
  promise,
  spoil(evidence, random) {
    const chosen = choose(evidence.rows, (row) => evidence.fresh.has(row.id) && fits(row), random);
    if (!chosen) return undefined;
    const changed = change(chosen);
    const wrong = changed ? [{ ...chosen, ...changed }] : [];
    return { ...evidence, rows: evidence.rows.flatMap((row) => (row === chosen ? wrong : [row])) };
  },
});

export const ofRecord = (
  what: string,
  promise: Violation["promise"],
  fits: (record: LoggedRecord, evidence: Evidence) => boolean,
  change: (record: LoggedRecord) => LoggedRecord[],
): Corruption => ({
  what,
  promise,
  spoil(evidence, random) {
    const chosen = choose(evidence.records, (record) => fits(record, evidence), random);
    if (!chosen) return undefined;
    const records = evidence.records.flatMap((record) => (record === chosen ? change(record) : [record]));
    return { ...evidence, records };
  },
});

export function choose<T>(from: readonly T[], fits: (one: T) => boolean, random: Random): T | undefined {
  const fitting = from.filter(fits);
  return fitting.length === 0 ? undefined : pick(random, fitting);
}

export function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const middle = Math.floor(copy.length / 2);
  copy[middle] = copy[middle]! ^ 1;
  return copy;
}
