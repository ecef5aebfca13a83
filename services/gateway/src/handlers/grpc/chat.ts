/** GenerationService.Chat: accepted, released windows, outcome; an outcome without output also ends the call with a typed error. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ChatRequest, ChatResponseSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, type CallContext, currentTrace, newTrace } from "@sallyport/runtime";
import type { Context } from "../../context.ts";
import { identify } from "../../core/callers.ts";
import { errorOf, outcomeOf } from "../../domain/views.ts";
import { type ChatEvent, chat } from "../chat.ts";

type Response = MessageInitShape<typeof ChatResponseSchema>;

export async function* handleChat(context: Context, request: ChatRequest, call: CallContext): AsyncGenerator<Response> {
  const identity = await identify(context, call);
  if (!request.content)
    throw new AppError("INVALID_ARGUMENT", "content is missing", {
      reason: "INVALID_FIELD",
      details: { field: "content" },
    });
  const events = chat(context, {
    identity,
    content: request.content,
    idempotencyKey: request.idempotencyKey,
    clientReference: request.clientReference,
    trace: currentTrace() ?? newTrace(context.ids),
    deadlineAt: call.deadline,
    signal: call.signal,
  });
  for await (const event of events) {
    yield toResponse(event);
    const error = "outcome" in event ? errorOf(event.outcome) : undefined;
    if (error) throw error;
  }
}

function toResponse(event: ChatEvent): Response {
  if ("accepted" in event) {
    const { id, model, modelDigest, createdAt } = event.accepted;
    return {
      event: {
        case: "accepted",
        value: { requestId: id, model, modelDigest, createdAt: timestampFromDate(createdAt) },
      },
    };
  }
  if ("window" in event) return { event: { case: "window", value: event.window } };
  return { event: { case: "outcome", value: outcomeOf(event.outcome) } };
}
