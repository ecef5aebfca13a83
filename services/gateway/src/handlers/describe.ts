/** What the span of a call says about its chat: who answers, how it ended, how much; nothing of what was said. */
import { fromBinary } from "@bufbuild/protobuf";
import { FinishReason, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { describeSpan } from "@sallyport/runtime";
import type { RequestRow } from "../db/ledger.ts";

export function describeAccepted({ id, model, modelDigest, policyDigest }: RequestRow): void {
  describeSpan({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "sallyport",
    "gen_ai.request.model": model,
    "sallyport.request.id": id,
    "sallyport.model.digest": modelDigest,
    "sallyport.policy.digest": policyDigest,
  });
}

/** `last`: bytes of the last released window, which tells reason and usage. */
export function describeOutcome({ state, code, attempt, windowsReleased }: RequestRow, last?: Uint8Array): void {
  const { finishReason, usage } = last ? fromBinary(WindowContentSchema, last) : {};
  const reason = finishReason === undefined ? undefined : finishReasons[finishReason];
  describeSpan({
    "sallyport.state": state,
    "sallyport.code": code,
    "sallyport.attempt": attempt,
    "sallyport.windows": windowsReleased,
    "gen_ai.response.finish_reasons": reason && [reason],
    "gen_ai.usage.input_tokens": usage?.promptTokens,
    "gen_ai.usage.output_tokens": usage?.completionTokens,
  });
}

const finishReasons: Partial<Record<FinishReason, string>> = {
  [FinishReason.STOP]: "stop",
  [FinishReason.LENGTH]: "length",
};
