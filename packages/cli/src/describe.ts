/** Messages of the platform as lines for a person. */
import type { DescEnum } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Finding, RequestStateName, RequestView } from "@sallyport/client";
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

/** A request of one's own, as far as it is known. */
export function describeRequest(request: Pick<RequestView, "requestId" | "state"> & Partial<RequestView>): string[] {
  const { requestId, state, code, message, findings = [], leafHash, policyDigest } = request;
  return [
    `request ${requestId}: ${state}${code ? ` (${code})` : ""}`,
    ...(message ? [`  ${message}`] : []),
    ...describeFindings(findings),
    ...(policyDigest ? [`  policy ${policyDigest}`] : []),
    ...(leafHash ? [`  audit record ${leafHash}`] : []),
  ];
}

/** Released, queued and running are fine; the others are told by the exit code. */
export function exitCodeOfState(state: RequestStateName): ExitCode {
  if (state === "blocked") return exitCodes.blocked;
  if (state === "held") return exitCodes.held;
  return state === "failed" || state === "cancelled" ? exitCodes.failed : exitCodes.done;
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
