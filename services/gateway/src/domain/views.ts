/** Ledger rows as callers see them. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { OutcomeSchema, RequestState } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, type ErrorCode, isSwitchCode, switchError } from "@sallyport/runtime";
import type { RequestRow } from "../db/ledger.ts";
import type { State } from "./request-state.ts";

const wireStates: Readonly<Record<State, RequestState>> = {
  queued: RequestState.QUEUED,
  running: RequestState.RUNNING,
  held: RequestState.HELD,
  released: RequestState.RELEASED,
  blocked: RequestState.BLOCKED,
  failed: RequestState.FAILED,
  cancelled: RequestState.CANCELLED,
};

export function outcomeOf(row: RequestRow): MessageInitShape<typeof OutcomeSchema> {
  const { id, state, code, message, findings, leafHash, policyDigest } = row;
  return create(OutcomeSchema, {
    requestId: id,
    state: wireStates[state],
    code,
    message,
    findings,
    leafHash,
    policyDigest,
  });
}

/** Most failures are worth another try; these are not, or not so soon. */
const failures: Readonly<Record<string, ErrorCode>> = {
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
  CONTEXT_OVERFLOW: "INVALID_ARGUMENT",
  REQUEST_INVALID: "INVALID_ARGUMENT",
};

/** What a caller gets who asked for an output and got none; undefined for a released request. */
export function errorOf(row: RequestRow): AppError | undefined {
  const details = { requestId: row.id, ...(row.leafHash && { leafHash: row.leafHash }) };
  const error = (code: ErrorCode) => new AppError(code, row.message, { reason: row.code, details });
  switch (row.state) {
    case "blocked":
      return error("BLOCKED");
    case "held":
      return error("HELD");
    case "cancelled":
      return isSwitchCode(row.code) ? switchError(row.code, details) : error("CANCELLED");
    case "failed":
      return error(failures[row.code] ?? "UNAVAILABLE");
    default:
      return undefined;
  }
}

export function timestamp(date: Date | null) {
  return date ? timestampFromDate(date) : undefined;
}
