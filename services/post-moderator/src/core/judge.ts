/** The shared pipeline of packages/policy over a model's text, by the policy that is in force. */
import { type Finding, roundScore } from "@sallyport/attestation";
import { type Edit, type JudgeInput, type Judgement, judge, type PolicyEngine, PolicyError } from "@sallyport/policy";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import { AppError, judging } from "@sallyport/runtime";
import type { Context } from "../context.ts";

export interface JudgedOutput {
  readonly decision: "allow" | "sanitise" | "hold" | "deny";
  readonly findings: readonly Finding[];
  readonly policyDigest: string;
  readonly edits: readonly Edit[];
  readonly openFrom: number;
  readonly holdMs: number;
  readonly secondReviewer: boolean;
}

/** As many as a statement carries; the strongest come first. */
export const maxFindings = 64;

/** `reviewFrom`: what ends before it was judged earlier and is context. Throws when no decision can be made. */
export function judgeOutput({ policy }: Context, job: Job, text: string, reviewFrom: number): JudgedOutput {
  const { tenant = job.tenant, subject = "", groups = [] } = job.identity ?? {};
  const engine = policy.get();
  const judged = judging("door2", () =>
    decided(engine, {
      stage: "door2",
      modality: "text",
      operation: "chat",
      identity: { tenant, subject, groups },
      model: { name: job.model, tier: job.modelTier },
      parts: [{ text, trust: "model", reviewFrom }],
    }),
  );
  const findings = judged.findings.slice(0, maxFindings).map(({ code, category, score, hardStop, layer }) => ({
    ...{ code, category, hardStop, layer },
    score: roundScore(score),
  }));
  return {
    decision: judged.decision,
    findings,
    policyDigest: judged.policyDigest,
    edits: judged.edits[0] ?? [],
    // However long a link pretends to be, the stream goes on.
    openFrom: Math.max(judged.openFrom[0] ?? 0, text.length - engine.settings.review.maxHeldBackChars),
    holdMs: judged.obligations.holdMs,
    secondReviewer: judged.obligations.secondReviewer,
  };
}

/** Without a decision by policy nothing is released: the window is tried again, and the cause goes to the log. */
function decided(engine: PolicyEngine, input: JudgeInput): Judgement {
  try {
    return judge(engine, input);
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new AppError("UNAVAILABLE", "the policy cannot decide right now", { reason: cause.code, cause });
  }
}
