/** Terminal transitions: the ledger's one update and its one audit event, in one transaction. */
import type { Envelope, Finding } from "@sallyport/attestation";
import type { AuditPlaces, Committed, Tx } from "@sallyport/runtime";
import { end, type RequestRow } from "../db/ledger.ts";
import { chargedTokens, type Ended } from "../domain/quota.ts";
import type { TerminalState } from "../domain/request-state.ts";
import { buildEvent, type EventFacts, type GatewayEvent, type VaultBodyInit } from "../events.ts";
import { readJob } from "./messages.ts";

export interface Ending {
  state: TerminalState;
  code: string;
  /** For the caller: what happened and what to do. */
  message: string;
  findings?: readonly Finding[];
  policyDigest?: string;
  /** Who decided: door1, door2, review or gateway. */
  stage: string;
  outputDigest?: string;
  attestations?: readonly Envelope[];
  bodies?: readonly VaultBodyInit[];
  detail?: EventFacts["detail"];
  usage?: Ended["usage"];
}

const decisionOf: Readonly<Record<TerminalState, string>> = {
  released: "allow",
  blocked: "deny",
  failed: "fail",
  cancelled: "cancel",
};

/** The row as it ended, or undefined when another ending was there first (then nothing is written). */
export async function endRequest(
  tx: Tx,
  places: AuditPlaces,
  row: RequestRow,
  ending: Ending,
  now: Date,
): Promise<Committed<RequestRow | undefined>> {
  const findings = ending.findings ?? [];
  const policyDigest = ending.policyDigest ?? row.policyDigest;
  const event = `request.${ending.state}` as GatewayEvent;
  const built = buildEvent(row, places.next(), {
    event,
    terminal: true,
    decision: { stage: ending.stage, decision: decisionOf[ending.state], code: ending.code, findings, policyDigest },
    endedAt: now,
    ...pick(ending),
  });
  const message = ending.state === "released" ? "" : ending.message;
  const written = {
    state: ending.state,
    code: ending.code,
    message,
    findings,
    policyDigest,
    endedAt: now,
    leafHash: built.leafHash,
    tokensUsed: charge(row, ending),
  };
  const ended = await end(tx, row.id, written);
  if (!ended) return { value: undefined, messages: [], places: "unused" };
  return {
    value: { ...row, ...written, findings: [...findings] },
    messages: [{ audit: { event, message: built.message }, traceparent: row.traceparent }],
  };
}

function charge(row: RequestRow, { state, usage }: Ending): number | null {
  const { windowsReleased } = row;
  const promptBytes = usage ? 0 : readJob(row).prompt.length;
  return chargedTokens({ state, ran: row.claim !== null, windowsReleased, promptBytes, usage });
}

function pick({ outputDigest, attestations, bodies, detail }: Ending) {
  return { outputDigest, attestations, bodies, detail };
}
