/** JudgeTexts: free-standing texts, each judged by itself. Nothing is signed and nothing admitted. */
import { judge } from "@sallyport/policy";
import { type JudgeTextsRequest, TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { toFindings } from "../domain/judge-content.ts";
import { wireDecisions } from "./judge-request.ts";

const maxTexts = 32;

export async function judgeTexts({ policy }: Context, { identity, texts, modality }: JudgeTextsRequest) {
  if (!identity || texts.length === 0 || texts.length > maxTexts) {
    throw new AppError("INVALID_ARGUMENT", `identity and 1 to ${maxTexts} texts are needed`, {
      reason: "INVALID_FIELD",
    });
  }
  const engine = policy.get();
  const model = { name: "", tier: engine.settings.moderation.tier };
  const judgements = texts.map((text) => {
    const judged = judge(engine, {
      stage: "door1",
      modality: modality === TextModality.IMAGE_PROMPT ? "image_prompt" : "text",
      operation: "moderate",
      identity,
      model,
      parts: [{ text, trust: "caller" }],
    });
    return { decision: wireDecisions[judged.decision], findings: toFindings(judged), scores: judged.scores };
  });
  return { judgements, policyDigest: engine.digest };
}
