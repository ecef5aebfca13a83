/** P2: every request ends once, in ledger and log alike; no record is missing, and nothing is left on its way. */
import type { LedgerRow } from "../../kit/index.ts";
import type { Evidence } from "../support/evidence.ts";
import { byRequest, gaps, isTerminal, type LoggedRecord } from "../support/log.ts";
import { type Find, finding, type Violation } from "./violation.ts";

export function checkNothingLost(evidence: Evidence): Violation[] {
  return finding("P2", (find) => {
    const { rows, records, outbox, queue } = evidence;
    const logged = byRequest(records);
    for (const row of rows) checkRequest(row, logged.get(row.id) ?? [], queue, find);
    const known = new Set(rows.map(({ id }) => id));
    for (const id of logged.keys()) if (!known.has(id)) find("the log knows a request that the ledger does not", id);
    for (const gap of gaps(records)) find(`a producer's numbering: ${gap}`);
    for (const waiting of outbox) find(`left in an outbox: ${waiting}`);
  });
}

function checkRequest(row: LedgerRow, own: readonly LoggedRecord[], queue: ReadonlySet<string>, find: Find): void {
  const { id, state, leafHash, holdStage } = row;
  if (!isSettled(row)) find(`still ${state}${holdStage ? ` (${holdStage})` : ""} when everything is quiet`, id);
  const endings = own.filter(isTerminal);
  const told = endings.map(({ event, leaf }) => `${event} ${leaf}`).join(", ");
  const expected = row.endedAt === null ? "" : `request.${state} ${leafHash}`;
  if (told !== expected) find(`the ledger has [${expected}], the log [${told}]`, id);
  if (own.filter(({ event }) => event === "request.accepted").length > 1) find("accepted twice, says the log", id);
  const first = ["request.accepted", "request.held", "request.blocked"];
  if (!own.some(({ event }) => first.includes(event))) find("no record of how it came", id);
  if (state !== "held" || holdStage === "collecting") return;
  if (!own.some(({ event }) => event === "request.held")) find("held, but the log does not say so", id);
  if (!queue.has(id)) find("held, but nobody can review it: it is not in the queue", id);
}

/** Ended, or waiting for a person. */
export function isSettled({ state, holdStage }: LedgerRow): boolean {
  return !["queued", "running"].includes(state) && !(state === "held" && holdStage === "collecting");
}
