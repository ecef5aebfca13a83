/** The platform's messages as the client's types. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Finding as WireFinding } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import {
  FinishReason,
  type GetRequestResponse,
  type ModerateTextsResponse,
  RequestState,
  type WindowContent,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { SallyportError } from "./errors.ts";
import type { Finding, Moderation, ModerationResult, RequestStateName, RequestView, Usage } from "./types.ts";

const states: Readonly<Partial<Record<RequestState, RequestStateName>>> = {
  [RequestState.QUEUED]: "queued",
  [RequestState.RUNNING]: "running",
  [RequestState.HELD]: "held",
  [RequestState.RELEASED]: "released",
  [RequestState.BLOCKED]: "blocked",
  [RequestState.FAILED]: "failed",
  [RequestState.CANCELLED]: "cancelled",
};

const decisions: Readonly<Partial<Record<Decision, ModerationResult["decision"]>>> = {
  [Decision.ALLOW]: "allow",
  [Decision.DENY]: "deny",
  [Decision.HOLD]: "hold",
  [Decision.SANITISE]: "sanitise",
};

/** Less what verification decides: text and ticket. */
export function toView(response: GetRequestResponse): Omit<RequestView, "text" | "ticket"> {
  const { outcome, model, modelDigest, createdAt, endedAt, holdExpiresAt } = response;
  const state = outcome && states[outcome.state];
  if (!state) throw malformed("a request without a state");
  const date = (time: typeof createdAt) => time && timestampDate(time);
  return {
    requestId: outcome.requestId,
    state,
    code: outcome.code,
    message: outcome.message,
    findings: outcome.findings.map(toFinding),
    model,
    modelDigest,
    policyDigest: outcome.policyDigest,
    leafHash: outcome.leafHash,
    createdAt: date(createdAt),
    endedAt: date(endedAt),
    holdExpiresAt: date(holdExpiresAt),
  };
}

export function toModeration({ moderationId, judgements, policyDigest }: ModerateTextsResponse): Moderation {
  const results = judgements.map(({ decision: wire, findings, scores }) => {
    const decision = decisions[wire];
    if (!decision) throw malformed("a judgement without a decision");
    return judged(decision, findings.map(toFinding), { ...scores });
  });
  return { id: moderationId, policyDigest, results };
}

export function judged(
  decision: ModerationResult["decision"],
  findings: Finding[],
  scores: Record<string, number>,
): ModerationResult {
  return { decision, flagged: decision === "deny" || decision === "hold", findings, scores };
}

function toFinding({ code, category, score, hardStop, layer }: WireFinding): Finding {
  return { code, category, score, hardStop, layer };
}

export function finishReasonOf(last: WindowContent | undefined): "stop" | "length" {
  return last?.finishReason === FinishReason.LENGTH ? "length" : "stop";
}

export function usageOf(last: WindowContent | undefined): Usage {
  const { promptTokens = 0, completionTokens = 0 } = last?.usage ?? {};
  return { promptTokens, completionTokens };
}

/** The gateway said something that it must not say. */
export function malformed(what: string, cause?: unknown): SallyportError {
  return new SallyportError("INTERNAL", `the gateway's answer is malformed: ${what}`, {
    reason: "MESSAGE_MALFORMED",
    cause,
  });
}
