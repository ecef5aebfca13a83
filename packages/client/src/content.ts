/** A request as the platform's own message: its serialised form is what door 1 signs over, so it is made in one place. */
import { create, toBinary } from "@bufbuild/protobuf";
import { type ChatContent, ChatContentSchema, Role, Trust } from "@sallyport/proto/sallyport/generation/v1/generation";
import { SallyportError } from "./errors.ts";
import type { ChatMessage, ChatRequest } from "./types.ts";

const roles = { system: Role.SYSTEM, user: Role.USER, assistant: Role.ASSISTANT, tool: Role.TOOL } as const;

/** Throws INVALID_ARGUMENT for what no message can hold; the platform judges everything else. */
export function toContent(request: ChatRequest): ChatContent {
  const { seed, maxTokens = 0 } = request;
  try {
    const content = create(ChatContentSchema, {
      model: request.model,
      messages: request.messages.map((message) => ({
        role: roles[message.role],
        content: message.content,
        name: message.name ?? "",
        trust: trustOf(message),
      })),
      parameters: {
        maxTokens,
        temperature: request.temperature,
        topP: request.topP,
        topK: request.topK,
        seed: seed === undefined ? undefined : BigInt(seed),
        stop: [...(request.stop ?? [])],
        presencePenalty: request.presencePenalty,
        frequencyPenalty: request.frequencyPenalty,
      },
    });
    contentBytes(content);
    return content;
  } catch (cause) {
    throw new SallyportError("INVALID_ARGUMENT", `the request cannot be sent: ${(cause as Error).message}`, {
      reason: "INVALID_FIELD",
      cause,
    });
  }
}

/** Exactly what the gateway makes of the request, over either transport. */
export function contentBytes(content: ChatContent): Uint8Array {
  return toBinary(ChatContentSchema, content);
}

/** What a tool returned is nobody's word. */
function trustOf({ role, trust }: ChatMessage): Trust {
  if (trust === "untrusted" || (role === "tool" && trust === undefined)) return Trust.UNTRUSTED;
  return trust === "caller" ? Trust.CALLER : Trust.UNSPECIFIED;
}

/** The same request as the OpenAI-compatible API takes it. */
export function openAiBody(request: ChatRequest): Record<string, unknown> {
  return {
    model: request.model,
    messages: request.messages.map(({ role, content, name, trust }) => ({ role, content, name, trust })),
    stream: true,
    max_tokens: request.maxTokens || undefined,
    temperature: request.temperature,
    top_p: request.topP,
    top_k: request.topK,
    seed: request.seed,
    stop: request.stop,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    user: request.clientReference,
  };
}
