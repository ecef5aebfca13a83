/** Pure: a request's texts and the policy in force → what door 1 says, and the content as it lets it in. */
import { clone } from "@bufbuild/protobuf";
import { type Finding, roundScore } from "@sallyport/attestation";
import {
  applyEdits,
  type Judgement,
  judge,
  type PolicyEngine,
  type PolicyIdentity,
  type TextPart,
} from "@sallyport/policy";
import { type ChatContent, ChatContentSchema, Role, Trust } from "@sallyport/proto/sallyport/generation/v1/generation";

/** As many as a statement carries; the strongest come first. */
const maxFindings = 64;

export interface Question {
  readonly identity: PolicyIdentity;
  readonly model: { readonly name: string; readonly tier: string };
}

export interface Door1Judgement {
  readonly decision: Judgement["decision"];
  readonly findings: readonly Finding[];
  readonly policyDigest: string;
  readonly holdMs: number;
  readonly secondReviewer: boolean;
  /** Only for sanitise. */
  readonly sanitised?: ChatContent;
}

/**
 * The whole conversation is judged, names of speakers too, and each message with who vouches for it: two parts a message.
 * Throws PolicyError without a decision.
 */
export function judgeContent(
  engine: PolicyEngine,
  content: ChatContent,
  { identity, model }: Question,
): Door1Judgement {
  const parts = content.messages.flatMap(({ content: text, name, role, trust }): TextPart[] => {
    const vouched = trustOf(role, trust);
    return [
      { text, trust: vouched },
      { text: name, trust: vouched },
    ];
  });
  const judged = judge(engine, { stage: "door1", modality: "text", operation: "chat", identity, model, parts });
  return {
    decision: judged.decision,
    findings: toFindings(judged),
    policyDigest: judged.policyDigest,
    holdMs: judged.obligations.holdMs,
    secondReviewer: judged.obligations.secondReviewer,
    ...(judged.decision === "sanitise" && { sanitised: sanitise(content, judged) }),
  };
}

export function toFindings({ findings }: Pick<Judgement, "findings">): Finding[] {
  return findings.slice(0, maxFindings).map(({ code, category, score, hardStop, layer }) => ({
    ...{ code, category, hardStop, layer },
    score: roundScore(score),
  }));
}

function sanitise(content: ChatContent, { edits }: Judgement): ChatContent {
  const sanitised = clone(ChatContentSchema, content);
  for (const [position, message] of sanitised.messages.entries()) {
    message.content = applyEdits(message.content, edits[2 * position] ?? []);
    message.name = applyEdits(message.name, edits[2 * position + 1] ?? []);
  }
  return sanitised;
}

/** What a tool brought back is vouched for by nobody unless the caller says so. */
function trustOf(role: Role, trust: Trust): TextPart["trust"] {
  if (trust === Trust.UNTRUSTED) return "untrusted";
  if (trust === Trust.CALLER) return "caller";
  return role === Role.TOOL ? "untrusted" : "caller";
}
