/** POST /v1/moderations: door 1's judgement of free-standing texts, in OpenAI's fields and ours. Recorded, never accepted for a model. */
import { TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, newTrace, parseTraceparent } from "@sallyport/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import { decisionNames, refusal } from "../../core/door1.ts";
import { authorize } from "../../core/permissions.ts";
import { contentLimits } from "../../domain/content.ts";
import { moderationTexts, parseModerationBody } from "../../domain/openai.ts";
import { openAiCategories } from "../../domain/openai-categories.ts";
import { buildModerationEvent } from "../../events.ts";
import { header, identify } from "./request.ts";

const maxRecordedCodes = 8;

export async function handleModerations(context: Context, request: FastifyRequest, reply: FastifyReply) {
  const identity = await identify(context, request);
  const body = parseModerationBody(request.body);
  authorize(context, identity, "moderate", {});
  const texts = moderationTexts(body);
  const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (size > contentLimits.contentBytes) {
    throw new AppError(
      "INVALID_ARGUMENT",
      `input is ${size} bytes; at most ${contentLimits.contentBytes} are allowed`,
      { reason: "INVALID_FIELD", details: { field: "input" } },
    );
  }
  using _slot = context.inFlight.enter();
  const modality = body.modality === "image_prompt" ? TextModality.IMAGE_PROMPT : TextModality.TEXT;
  const question = { identity: { ...identity, groups: [...identity.groups] }, texts, modality };
  const { judgements, policyDigest } = await context.door1
    .judgeTexts(question, { deadlineMs: context.limits.door1DeadlineMs, waitForReady: true })
    .catch((error: unknown) => {
      throw refusal(error);
    });
  if (judgements.length !== texts.length)
    throw new AppError("UNAVAILABLE", "the review was incomplete; try again", { reason: "DOOR1_INVALID" });
  const results = judgements.map(({ decision, findings, scores }) => {
    const name = decisionNames[decision];
    if (!name) throw new AppError("UNAVAILABLE", "the review was incomplete; try again", { reason: "DOOR1_INVALID" });
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
  });
  const checked = results.map(({ sallyport: { decision, findings } }) => ({
    decision,
    // A record has its bound (64 KiB): of the strongest reasons a few will do.
    codes: [...new Set(findings.map(({ code }) => code))].slice(0, maxRecordedCodes),
  }));
  const { traceId } = newTrace(context.ids, parseTraceparent(header(request, "traceparent")));
  const facts = { identity, modality: body.modality ?? "text", policyDigest, results: checked, traceId };
  await context.outbox.commit(async (_, places) => {
    const audit = { event: "moderation.checked", message: buildModerationEvent(places.next(), facts) };
    return { value: undefined, messages: [{ audit }] };
  });
  return reply.send({
    id: `modr-${context.ids.uuid()}`,
    model: `sallyport-policy-${policyDigest.slice(0, 12)}`,
    results,
  });
}
