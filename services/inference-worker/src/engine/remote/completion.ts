import { type Chunk, EngineError, type GenerationRequest, type Usage } from "../engine.ts";

/** The body of `POST /v1/chat/completions`. `top_k` is an extension that vLLM and llama-server know; sent only when set. */
export function requestBody(model: string, { turns, sampling }: GenerationRequest): string {
  return JSON.stringify({
    model,
    messages: turns.map(({ role, text }) => ({ role, content: text })),
    stream: true,
    stream_options: { include_usage: true },
    n: 1,
    max_tokens: sampling.maxTokens,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    ...(sampling.topK > 0 && { top_k: sampling.topK }),
    seed: sampling.seed,
    ...(sampling.stop.length > 0 && { stop: sampling.stop }),
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
  });
}

/** Reads the stream's events into chunks. The server is beside us, not one of us: everything is checked. */
export class CompletionReader {
  readonly #maxCharacters: number;
  #characters = 0;
  #pieces = 0;
  #finishReason: "stop" | "length" | undefined;
  #usage: Usage | undefined;

  constructor(maxCharacters: number) {
    this.#maxCharacters = maxCharacters;
  }

  /** Undefined where an event brings no text. */
  read(data: string): Chunk | undefined {
    const event = parse(data);
    if (event.error !== undefined) throw failed("answered with an error in its stream");
    this.#usage = readUsage(event.usage) ?? this.#usage;
    const choices = event.choices ?? [];
    if (!Array.isArray(choices) || choices.length > 1) throw failed("sent an event with several choices");
    const [choice] = choices as Record<string, unknown>[];
    if (choice === undefined) return undefined;
    if (typeof choice !== "object" || choice === null) throw failed("sent a choice that is none");
    this.#readFinish(choice.finish_reason);
    const content = (choice.delta as { content?: unknown } | null | undefined)?.content ?? "";
    if (typeof content !== "string") throw failed("sent text that is none");
    if (content === "") return undefined;
    this.#pieces += 1;
    this.#characters += content.length;
    if (this.#characters > this.#maxCharacters) throw failed("sent more text than was asked for");
    return { text: content, tokens: 1 };
  }

  /** After `[DONE]`, or the end of the body: only a stream that said why it ended is whole. */
  end(): Chunk {
    if (this.#finishReason === undefined) throw new EngineError("ENGINE_CRASHED", "the model server broke off");
    const usage = this.#usage ?? { promptTokens: 0, completionTokens: this.#pieces };
    return { text: "", tokens: 0, finishReason: this.#finishReason, usage };
  }

  #readFinish(reason: unknown): void {
    if (reason === null || reason === undefined) return;
    if (reason !== "stop" && reason !== "length") throw failed("ended for a reason that is not supported");
    this.#finishReason = reason;
  }
}

function parse(data: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    // Without the cause: a parser's message quotes what it read.
    throw failed("sent an event that is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw failed("sent an event that is none");
  return value as Record<string, unknown>;
}

function readUsage(value: unknown): Usage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens } = value as Record<string, unknown>;
  return isCount(promptTokens) && isCount(completionTokens) ? { promptTokens, completionTokens } : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

function failed(what: string): EngineError {
  return new EngineError("ENGINE_FAILED", `the model server ${what}`);
}
