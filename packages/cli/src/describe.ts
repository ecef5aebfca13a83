/** Messages of the platform as lines for a person. */
import type { DescEnum } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Finding } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { type Outcome, RequestState, RequestStateSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { type ExitCode, exitCodes } from "./exit-codes.ts";

/** `ITEM_STATE_OPEN` → `open`. */
export function enumName(schema: DescEnum, value: number): string {
  return (schema.value[value]?.localName ?? `unknown ${value}`).toLowerCase().replaceAll("_", " ");
}

export function timeOf(time: Timestamp | undefined): string {
  return time ? timestampDate(time).toISOString() : "-";
}

export function describeFindings(findings: readonly Finding[]): string[] {
  return findings.map(({ code, category, score, hardStop }) => {
    return `  ${code} (${category}, score ${score.toFixed(2)}${hardStop ? ", hard stop" : ""})`;
  });
}

export function describeOutcome(outcome: Outcome): string[] {
  const { requestId, state, code, message, findings, leafHash, policyDigest } = outcome;
  return [
    `request ${requestId}: ${enumName(RequestStateSchema, state)}${code ? ` (${code})` : ""}`,
    ...(message ? [`  ${message}`] : []),
    ...describeFindings(findings),
    ...(policyDigest ? [`  policy ${policyDigest}`] : []),
    ...(leafHash ? [`  audit record ${leafHash}`] : []),
  ];
}

/** Released, queued and running are fine; the others are told by the exit code. */
export function exitCodeOfState(state: RequestState): ExitCode {
  if (state === RequestState.BLOCKED) return exitCodes.blocked;
  if (state === RequestState.HELD) return exitCodes.held;
  const fine: RequestState[] = [RequestState.RELEASED, RequestState.QUEUED, RequestState.RUNNING];
  return fine.includes(state) ? exitCodes.done : exitCodes.failed;
}

/** Columns as wide as their widest cell; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
