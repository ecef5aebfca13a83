/** JudgeTexts: free-standing texts, each judged by itself. Nothing is signed and nothing admitted. */
import { judge } from "@sallyport/policy";
import { type JudgeTextsRequest, TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, judging } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { decided } from "../domain/decided.ts";
import { toFindings } from "../domain/judge-content.ts";
import { wireDecisions } from "./judge-request.ts";

const maxTexts = 32;

export async function judgeTexts(context: Context, { identity, texts, modality }: JudgeTextsRequest) {
  const { config, policy } = context;
  if (!identity || texts.length === 0 || texts.length > maxTexts) {
    throw new AppError("INVALID_ARGUMENT", `identity and 1 to ${maxTexts} texts are needed`, {
      reason: "INVALID_FIELD",
    });
  }
  context.switches.check(identity);
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes > config.maxContentBytes) {
    const message = `the texts are too long; together at most ${config.maxContentBytes} bytes are taken`;
    throw new AppError("INVALID_ARGUMENT", message, { reason: "CONTENT_TOO_LARGE" });
  }
  const engine = policy.get();
  const model = { name: "", tier: engine.settings.moderation.tier };
  const judgements = texts.map((text) => {
    const input = {
      stage: "door1" as const,
      modality: modality === TextModality.IMAGE_PROMPT ? ("image_prompt" as const) : ("text" as const),
      operation: "moderate",
      ...{ identity, model, parts: [{ text, trust: "caller" as const }] },
    };
    const judged = judging("door1", () => decided(() => judge(engine, input)));
    return { decision: wireDecisions[judged.decision], findings: toFindings(judged), scores: judged.scores };
  });
  return { judgements, policyDigest: engine.digest };
}
