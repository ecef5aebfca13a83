/** What a request may be: bounds with what to do about each, checked before anything else looks at it. */
import { type ChatContent, Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";

export const contentLimits = {
  /** As much as door 1 takes. */
  contentBytes: 128 * 1024,
  messages: 256,
  stopSequences: 4,
  stopChars: 64,
  maxTokens: 32_768,
  modelChars: 128,
  nameChars: 64,
  clientReferenceBytes: 256,
  idempotencyKeyChars: 255,
} as const;

/** Throws INVALID_ARGUMENT naming the field; returns nothing. To be asked before it is serialised: some of it may not be. */
export function checkContent(content: ChatContent): void {
  refuse(!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(content.model), "model", "must name a model: see the list of models");
  refuse(content.model.length > contentLimits.modelChars, "model", "is too long");
  refuse(content.messages.length === 0, "messages", "must hold at least one message");
  refuse(
    content.messages.length > contentLimits.messages,
    "messages",
    `must hold at most ${contentLimits.messages} messages`,
  );
  for (const [position, message] of content.messages.entries()) checkMessage(message, `messages[${position}]`);
  refuse(content.messages.at(-1)!.role === Role.ASSISTANT, "messages", "must not end with an assistant message");
  checkParameters(content);
}

/** `bytes`: of the serialised content. */
export function checkSize(bytes: number): void {
  refuse(
    bytes > contentLimits.contentBytes,
    "messages",
    `are ${bytes} bytes together; at most ${contentLimits.contentBytes} are allowed`,
  );
}

const roles: ReadonlySet<Role> = new Set([Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]);

function checkMessage(message: ChatContent["messages"][number], field: string): void {
  refuse(!roles.has(message.role), `${field}.role`, "must be system, user, assistant or tool");
  refuse(message.content.length === 0, `${field}.content`, "must not be empty");
  refuse(!message.content.isWellFormed(), `${field}.content`, "must be valid Unicode: it holds an unpaired surrogate");
  refuse(message.content.includes("\0"), `${field}.content`, "must not hold a NUL character");
  refuse(
    message.name.length > contentLimits.nameChars || !/^[A-Za-z0-9_-]*$/.test(message.name),
    `${field}.name`,
    "may hold up to 64 letters, digits, _ and -",
  );
}

function checkParameters({ parameters }: ChatContent): void {
  if (!parameters) return;
  range(parameters.maxTokens, "max_tokens", 0, contentLimits.maxTokens);
  range(parameters.temperature, "temperature", 0, 2);
  range(parameters.topP, "top_p", 0, 1);
  range(parameters.topK, "top_k", 0, 1_000);
  range(parameters.presencePenalty, "presence_penalty", -2, 2);
  range(parameters.frequencyPenalty, "frequency_penalty", -2, 2);
  refuse(parameters.seed !== undefined && parameters.seed > 0xffff_ffffn, "seed", "must be from 0 to 4294967295");
  refuse(
    parameters.stop.length > contentLimits.stopSequences,
    "stop",
    `must hold at most ${contentLimits.stopSequences} sequences`,
  );
  for (const stop of parameters.stop) {
    refuse(
      stop.length === 0 || stop.length > contentLimits.stopChars || !stop.isWellFormed(),
      "stop",
      `sequences have 1 to ${contentLimits.stopChars} characters`,
    );
  }
}

export function checkIdempotencyKey(key: string): void {
  refuse(
    key.length > contentLimits.idempotencyKeyChars || !/^[\x21-\x7e]*$/.test(key),
    "idempotency_key",
    "may hold up to 255 visible ASCII characters",
  );
}

export function checkClientReference(reference: string): void {
  refuse(
    new TextEncoder().encode(reference).length > contentLimits.clientReferenceBytes,
    "client_reference",
    "may hold up to 256 bytes",
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  refuse(!reference.isWellFormed() || /[\x00-\x1f\x7f]/.test(reference), "client_reference", "must be plain text");
}

export function checkRequestId(id: string): void {
  refuse(
    !/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id),
    "request_id",
    "must be a request id as the platform gave it (a UUID)",
  );
}

function range(value: number | undefined, field: string, min: number, max: number): void {
  refuse(value !== undefined && !(value >= min && value <= max), field, `must be from ${min} to ${max}`);
}

function refuse(bad: boolean, field: string, problem: string): void {
  if (bad)
    throw new AppError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "INVALID_FIELD", details: { field } });
}
