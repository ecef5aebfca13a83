/** POST /v1/moderations: door 1's judgement of free-standing texts, in OpenAI's fields and ours. */
import type { TextJudgement } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { currentTrace, newTrace } from "@sallyport/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import { decisionNames } from "../../core/door1.ts";
import { moderate } from "../../core/moderate.ts";
import { moderationTexts, parseModerationBody } from "../../domain/openai.ts";
import { openAiCategories } from "../../domain/openai-categories.ts";
import { identify } from "./request.ts";

export async function handleModerations(context: Context, request: FastifyRequest, reply: FastifyReply) {
  const identity = await identify(context, request);
  const body = parseModerationBody(request.body);
  const { id, judgements, policyDigest, quota } = await moderate(context, {
    identity,
    texts: moderationTexts(body),
    modality: body.modality ?? "text",
    trace: currentTrace() ?? newTrace(context.ids),
  });
  return reply.headers(quota).send({
    id,
    model: `sallyport-policy-${policyDigest.slice(0, 12)}`,
    results: judgements.map((judgement) => result(judgement, policyDigest)),
  });
}

function result({ decision, findings, scores }: TextJudgement, policyDigest: string) {
  const name = decisionNames[decision]!;
  const sallyport = {
    decision: name,
    findings: findings.map(({ code, category, score, hardStop, layer }) => ({
      code,
      category,
      score,
      hard_stop: hardStop,
      layer,
    })),
    scores,
    policy_digest: policyDigest,
  };
  return { flagged: name === "deny" || name === "hold", ...openAiCategories(scores, findings), sallyport };
}
