/** OpenAI's chat API (https://platform.openai.com/docs/api-reference/chat) → our content. What we do not support is refused, not ignored. */
import { create } from "@bufbuild/protobuf";
import {
  type ChatContent,
  ChatContentSchema,
  FinishReason,
  Role,
  Trust,
  type WindowContent,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import { z } from "zod";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content: z.union([z.string(), z.array(textPart).min(1)]),
  name: z.string().optional(),
  tool_call_id: z.string().optional(),
  /** Ours: `untrusted` marks documents, tool results and quoted text. */
  trust: z.enum(["caller", "untrusted"]).optional(),
});

const chatBody = z.strictObject({
  model: z.string(),
  messages: z.array(message),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
  top_k: z.int().nullish(),
  seed: z.int().min(0).nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  presence_penalty: z.number().nullish(),
  frequency_penalty: z.number().nullish(),
  n: z.literal(1).nullish(),
  user: z.string().nullish(),
});
export type ChatBody = z.infer<typeof chatBody>;

const moderationBody = z.strictObject({
  input: z.union([
    z.string(),
    z
      .array(z.union([z.string(), textPart]))
      .min(1)
      .max(32),
  ]),
  model: z.string().nullish(),
  modality: z.enum(["text", "image_prompt"]).optional(),
});
export type ModerationBody = z.infer<typeof moderationBody>;

export const parseChatBody = (body: unknown): ChatBody => parse(chatBody, body);
export const parseModerationBody = (body: unknown): ModerationBody => parse(moderationBody, body);

export function moderationTexts({ input }: ModerationBody): string[] {
  return (typeof input === "string" ? [input] : input).map((part) => (typeof part === "string" ? part : part.text));
}

const roles = {
  system: Role.SYSTEM,
  developer: Role.SYSTEM,
  user: Role.USER,
  assistant: Role.ASSISTANT,
  tool: Role.TOOL,
} as const;

export function toContent(body: ChatBody): ChatContent {
  return create(ChatContentSchema, {
    model: body.model,
    messages: body.messages.map(({ role, content, name, trust }) => ({
      role: roles[role],
      content: typeof content === "string" ? content : content.map((part) => part.text).join("\n"),
      name: name ?? "",
      trust: trustOf(role, trust),
    })),
    parameters: {
      maxTokens: body.max_completion_tokens ?? body.max_tokens ?? 0,
      temperature: body.temperature ?? undefined,
      topP: body.top_p ?? undefined,
      topK: body.top_k ?? undefined,
      seed: body.seed === null || body.seed === undefined ? undefined : BigInt(body.seed),
      stop: body.stop === null || body.stop === undefined ? [] : [body.stop].flat(),
      presencePenalty: body.presence_penalty ?? undefined,
      frequencyPenalty: body.frequency_penalty ?? undefined,
    },
  });
}

/** What a tool returned is nobody's word: untrusted unless the caller says otherwise. */
function trustOf(role: keyof typeof roles, trust: "caller" | "untrusted" | undefined): Trust {
  if (trust === "untrusted" || (role === "tool" && trust === undefined)) return Trust.UNTRUSTED;
  return trust === "caller" ? Trust.CALLER : Trust.UNSPECIFIED;
}

export const finishReason = (reason: FinishReason): "stop" | "length" =>
  reason === FinishReason.LENGTH ? "length" : "stop";

export function usage(window: WindowContent | undefined) {
  const { promptTokens = 0, completionTokens = 0 } = window?.usage ?? {};
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const field = [...issue.path, issue.keys[0]].join(".");
    throw new AppError("INVALID_ARGUMENT", `${field} is not supported here; leave it out`, {
      reason: "UNSUPPORTED_PARAMETER",
      details: { field },
    });
  }
  const field = issue.path.join(".") || "body";
  throw new AppError("INVALID_ARGUMENT", `${field}: ${issue.message}`, { reason: "INVALID_FIELD", details: { field } });
}
