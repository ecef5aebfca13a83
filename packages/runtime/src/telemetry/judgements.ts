/** What the doors, and people, decide: counted by decision and by the code that weighed most, timed, and part of the trace. */
import { callBuckets, counter, histogram, secondsSince } from "./metrics.ts";
import { describeSpan, withSpanSync } from "./spans.ts";

export type JudgingStage = "door1" | "door2" | "review" | "countersign";

export interface Judged {
  readonly decision: string;
  /** The strongest first. */
  readonly findings: readonly { readonly code: string; readonly category: string }[];
  readonly policyDigest?: string;
}

const decisions = counter(
  "sallyport_door_decisions_total",
  "Judgements, by stage, decision and the code that weighed most.",
  ["stage", "decision", "code", "category"],
);
const seconds = histogram("sallyport_door_judge_seconds", "Time of one judgement.", ["stage"], callBuckets);

/** Runs one judgement of a door; one that throws is no decision, and counted by whoever answers for it. */
export function judging<T extends Judged>(stage: "door1" | "door2", judge: () => T): T {
  const startedAt = performance.now();
  return withSpanSync(`judge ${stage}`, { attributes: { "sallyport.stage": stage } }, () => {
    const judged = judge();
    seconds.observe({ stage }, secondsSince(startedAt));
    countDecision(stage, judged);
    return judged;
  });
}

export function countDecision(stage: JudgingStage, { decision, findings, policyDigest }: Judged): void {
  const { code = "none", category = "none" } = findings[0] ?? {};
  decisions.inc({ stage, decision, code, category });
  describeSpan({
    "sallyport.stage": stage,
    "sallyport.decision": decision,
    "sallyport.code": code,
    "sallyport.category": category,
    "sallyport.policy.digest": policyDigest,
  });
}

const tickets = counter(
  "sallyport_tickets_total",
  "Signed words of others that were verified, by whether they held and why not.",
  ["result", "reason"],
);

/** `failure`: undefined for a ticket, or a part of one, that held. */
export function countTicket(failure?: unknown): void {
  const code = failure instanceof Error && "code" in failure ? failure.code : failure;
  const reason = failure === undefined ? "OK" : typeof code === "string" ? code : "INVALID";
  tickets.inc({ result: failure === undefined ? "verified" : "refused", reason });
}
