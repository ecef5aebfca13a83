/** P1 and P2, from the callers' side: what they were told is the ledger's word, said once, and never contradicted. */
import type { LedgerRow } from "../../kit/index.ts";
import type { Evidence, Transcript } from "../support/evidence.ts";
import { byRequest, type LoggedRecord } from "../support/log.ts";
import { type Find, finding, type Violation } from "./violation.ts";

const terminal = ["released", "blocked", "failed", "cancelled"];
/** By gRPC these are followed by a status that says the same. */
const refused = ["held", "blocked", "failed", "cancelled"];
const markers = /SALLYPORT-(BLOCK|REVIEW|HARDSTOP)-ME/;

export function checkTold(evidence: Evidence): Violation[] {
  const rows = new Map(evidence.rows.map((row) => [row.id, row]));
  const records = byRequest(evidence.records);
  return [
    ...finding("P1", (find) => {
      for (const transcript of evidence.transcripts) checkOrder(transcript, find);
    }),
    ...finding("P2", (find) => {
      for (const transcript of evidence.transcripts) {
        checkState(transcript, rows, records, find);
        if (transcript.repeats) checkRepeat(transcript, transcript.repeats, find);
      }
    }),
  ];
}

/** After the end nothing comes; what was refused brings no success, and no success a refusal. */
function checkOrder(transcript: Transcript, find: Find): void {
  const { events, state, error, requestId, windows, repeats, expected } = transcript;
  const end = events.findIndex((event) => event === "outcome" || event === "error");
  const late = end === -1 ? [] : events.slice(end + 1).filter((event) => event !== "error");
  if (late.length > 0) find(`after the end came ${late.join(", ")}`, requestId);
  if (events.filter((event) => event === "outcome").length > 1) find("two outcomes of one call", requestId);
  if (events.filter((event) => event === "error").length > 1) find("two errors of one call", requestId);
  // The connection itself may break behind an outcome that had come whole.
  if (state === "released" && error && !["CANCELLED", "UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(error.code))
    find(`success, then failure: ${error.reason}`, requestId);
  if (state !== undefined && !terminal.includes(state) && !refused.includes(state))
    find(`ended as "${state}", which is no end`, requestId);
  const stops = expected === "blocked" || (expected === "held" && repeats === undefined);
  if (stops && state === "released") find(`released, where a door says "${expected}"`, requestId);
  // Without a person's word no marker is ever heard; only who comes back can have one.
  const text = windows.map((window) => window.text).join("");
  if (repeats === undefined && state !== "released" && markers.test(text)) find("heard what door 2 stops", requestId);
}

function checkState(
  { requestId, state, leafHash }: Transcript,
  rows: ReadonlyMap<string, LedgerRow>,
  records: ReadonlyMap<string, LoggedRecord[]>,
  find: Find,
): void {
  if (requestId === undefined) return;
  const row = rows.get(requestId);
  if (!row) find("a caller has the id of a request that the ledger does not know", requestId);
  if (!row || state === undefined) return;
  const wasHeld = records.get(requestId)?.some(({ event }) => event === "request.held");
  if (state === "held" ? !wasHeld : row.state !== state)
    find(`a caller was told "${state}", the ledger says "${row.state}"`, requestId);
  if (leafHash !== undefined && terminal.includes(state) && leafHash !== row.leafHash)
    find("a caller was told another leaf hash than the ledger's", requestId);
}

function checkRepeat(again: Transcript, first: Transcript, find: Find): void {
  if (again.requestId === undefined || first.requestId === undefined) return;
  if (again.requestId !== first.requestId) find("the same idempotency key led to a second request", again.requestId);
  if (first.state === undefined || again.state === undefined || first.state === "held") return;
  if (again.state !== first.state) find(`first "${first.state}", then "${again.state}"`, first.requestId);
  const text = ({ windows }: Transcript) => windows.map((window) => window.text).join("");
  if (first.state === "released" && text(again) !== text(first))
    find("a repeat brought another answer", first.requestId);
}
