/** Evidence with one thing wrong in it, which the checker must find. */
import type { LedgerRow } from "../../../kit/index.ts";
import type { Evidence, Transcript } from "../../support/evidence.ts";
import type { LoggedRecord } from "../../support/log.ts";
import type { Violation } from "../violation.ts";

/** Makes the evidence that is wrong in one way. */
export type Way = () => Evidence;

export interface Corruption {
  readonly what: string;
  readonly promise: Violation["promise"];
  /** Every place where it can be done, and each does spoil something: none where there is nothing to spoil so. */
  readonly ways: (evidence: Evidence) => Way[];
}

export const ofTranscript = (
  what: string,
  promise: Violation["promise"],
  fits: (transcript: Transcript, evidence: Evidence) => boolean,
  change: (transcript: Transcript) => Partial<Transcript>,
): Corruption => ({
  what,
  promise,
  ways: (evidence) =>
    evidence.transcripts
      .filter((one) => fits(one, evidence))
      .map((chosen) => () => ({
        ...evidence,
        transcripts: replaced(evidence.transcripts, chosen, [{ ...chosen, ...change(chosen) }]),
      })),
});

/** `change` says undefined for a row that is to be gone. */
export const ofRow = (
  what: string,
  promise: Violation["promise"],
  fits: (row: LedgerRow) => boolean,
  change: (row: LedgerRow) => Partial<LedgerRow> | undefined,
): Corruption => ({
  what,
  promise,
  ways: (evidence) =>
    evidence.rows
      .filter((row) => evidence.fresh.has(row.id) && fits(row))
      .map((chosen) => () => {
        const changed = change(chosen);
        return { ...evidence, rows: replaced(evidence.rows, chosen, changed ? [{ ...chosen, ...changed }] : []) };
      }),
});

export const ofRecord = (
  what: string,
  promise: Violation["promise"],
  fits: (record: LoggedRecord, evidence: Evidence) => boolean,
  change: (record: LoggedRecord) => LoggedRecord[],
): Corruption => ({
  what,
  promise,
  ways: (evidence) =>
    evidence.records
      .filter((record) => fits(record, evidence))
      .map((chosen) => () => ({ ...evidence, records: replaced(evidence.records, chosen, change(chosen)) })),
});

export function replaced<T>(all: readonly T[], one: T, by: readonly T[]): T[] {
  return all.flatMap((other) => (other === one ? by : [other]));
}

/** The bit in the middle is the other one. */
export function flipped(bytes: Uint8Array): Buffer {
  if (bytes.length === 0) throw new RangeError("there is nothing to flip");
  const copy = Buffer.from(bytes);
  const middle = Math.floor(copy.length / 2);
  copy[middle] = copy[middle]! ^ 1;
  return copy;
}

export const otherDigit = (hex: string) => hex.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
