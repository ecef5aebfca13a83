/** JudgeRequest: one request's exact bytes, judged as a whole and signed over. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { saltedDigest } from "@sallyport/attestation";
import { type ChatContent, ChatContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision, type JudgeRequestRequest } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, judging } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { decided } from "../domain/decided.ts";
import { judgeContent } from "../domain/judge-content.ts";
import { signAdmission } from "../domain/statement.ts";

export const wireDecisions = {
  allow: Decision.ALLOW,
  deny: Decision.DENY,
  hold: Decision.HOLD,
  sanitise: Decision.SANITISE,
} as const;

export async function judgeRequest(context: Context, request: JudgeRequestRequest) {
  const { clock, config, policy, signer } = context;
  const { requestId, identity, content: bytes, salt, modelDigest, modelTier } = request;
  if (!identity) throw invalid("identity is missing");
  if (salt.length !== 32) throw invalid("salt must have 32 bytes");
  if (bytes.length > config.maxContentBytes) {
    const message = `the request is too long; at most ${config.maxContentBytes} bytes are taken`;
    throw new AppError("INVALID_ARGUMENT", message, { reason: "CONTENT_TOO_LARGE" });
  }
  const content = decode(bytes);
  context.switches.check({ ...identity, model: content.model });
  const model = { name: content.model, tier: modelTier };
  const judged = judging("door1", () => decided(() => judgeContent(policy.get(), content, { identity, model })));
  const admitted = judged.sanitised ? toBinary(ChatContentSchema, judged.sanitised) : bytes;
  const envelope = signAdmission(signer, judged, {
    ...{ requestId, tenant: identity.tenant, modelDigest },
    requestDigest: saltedDigest(salt, admitted),
    sentDigest: saltedDigest(salt, bytes),
    issuedAt: clock.now(),
    // A held request must still be admissible when its time for a decision is over.
    ttlMs: Math.max(config.verdictTtlMs, judged.holdMs + config.verdictTtlMs),
  });
  return {
    decision: wireDecisions[judged.decision],
    findings: [...judged.findings],
    policyDigest: judged.policyDigest,
    envelope,
    sanitisedContent: judged.sanitised ? admitted : new Uint8Array(),
    obligations: { secondReviewer: judged.secondReviewer, holdMs: BigInt(judged.holdMs) },
  };
}

function decode(bytes: Uint8Array): ChatContent {
  let content: ChatContent;
  try {
    content = fromBinary(ChatContentSchema, bytes);
  } catch (cause) {
    throw new AppError("INVALID_ARGUMENT", "content is not a ChatContent message", { reason: "INVALID_FIELD", cause });
  }
  if (content.messages.length === 0) throw invalid("content has no messages");
  // What door 1 does not know it has not judged: unknown fields would reach the worker unread.
  const messages = [content, content.parameters, ...content.messages];
  if (messages.some((message) => message?.$unknown?.length)) throw invalid("content has unknown fields");
  return content;
}

function invalid(message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason: "INVALID_FIELD" });
}
