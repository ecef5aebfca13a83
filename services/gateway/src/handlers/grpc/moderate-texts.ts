/** GenerationService.ModerateTexts: door 1's judgement of free-standing texts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ModerateTextsRequest,
  ModerateTextsResponseSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, type CallContext, currentTrace, newTrace } from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { identify } from "../../core/callers.ts";
import { moderate } from "../../core/moderate.ts";

const modalities: Readonly<Partial<Record<TextModality, "text" | "image_prompt">>> = {
  [TextModality.UNSPECIFIED]: "text",
  [TextModality.TEXT]: "text",
  [TextModality.IMAGE_PROMPT]: "image_prompt",
};

export async function moderateTexts(
  context: Context,
  request: ModerateTextsRequest,
  call: CallContext,
): Promise<MessageInitShape<typeof ModerateTextsResponseSchema>> {
  const identity = await identify(context, call);
  const modality = modalities[request.modality];
  if (!modality)
    throw new AppError("INVALID_ARGUMENT", "modality must be text or image prompt", {
      reason: "INVALID_FIELD",
      details: { field: "modality" },
    });
  const trace = currentTrace() ?? newTrace(context.ids);
  const { id, judgements, policyDigest } = await moderate(context, { identity, texts: request.texts, modality, trace });
  return { moderationId: id, judgements: [...judgements], policyDigest };
}
