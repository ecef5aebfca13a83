import type { ChatWrapper, LlamaContextSequence, LlamaModel, SequenceEvaluateOptions, Token } from "node-llama-cpp";
import { EngineError, type GenerationRequest, type Sampling, type Usage } from "../engine.ts";
import { type ChatPrompt, renderChat } from "./chat-prompt.ts";
import { StopScanner } from "./stop-scanner.ts";
import { TokenText } from "./token-text.ts";

export interface GenerationTarget {
  model: LlamaModel;
  wrapper: ChatWrapper;
  sequence: LlamaContextSequence;
  /** Prompt and output together. */
  contextTokens: number;
  batchTokens: number;
}

export interface GenerationSink {
  progress(): void;
  text(text: string, tokens: number): void;
}

export interface GenerationEnd {
  finishReason: "stop" | "length";
  usage: Usage;
}

/** Penalties look this many generated tokens back. */
const penaltyTokens = 1_024;

/**
 * One answer, in the engine process. Rejects with EngineError, CANCELLED once `signal` aborts (looked at between tokens
 * and between batches of the prompt). The sequence is left empty.
 */
export async function generate(
  target: GenerationTarget,
  request: GenerationRequest,
  sink: GenerationSink,
  signal: AbortSignal,
): Promise<GenerationEnd> {
  const { model, wrapper, sequence, contextTokens } = target;
  const prompt = renderChat(model, wrapper, request.turns);
  const room = contextTokens - prompt.tokens.length;
  if (prompt.tokens.length === 0) throw new EngineError("PROMPT_UNUSABLE", "the chat template made an empty prompt");
  if (room < 1) {
    const sizes = `the prompt has ${prompt.tokens.length} tokens, the model's context ${contextTokens}`;
    throw new EngineError("CONTEXT_OVERFLOW", `${sizes}: shorten the conversation`);
  }
  try {
    // All but the last token, which starts the generation.
    await readPrompt(target, prompt.tokens.slice(0, -1), sink, signal);
    return await writeAnswer(target, prompt, { ...request.sampling, maxTokens: atMost(room, request) }, sink, signal);
  } finally {
    // Nothing of one request stays for the next.
    if (!sequence.disposed) await sequence.clearHistory();
  }
}

function atMost(room: number, { sampling }: GenerationRequest): number {
  return Math.min(room, sampling.maxTokens);
}

async function readPrompt(
  { sequence, batchTokens }: GenerationTarget,
  tokens: readonly Token[],
  sink: GenerationSink,
  signal: AbortSignal,
): Promise<void> {
  for (let start = 0; start < tokens.length; start += batchTokens) {
    throwIfCancelled(signal);
    await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(start, start + batchTokens));
    sink.progress();
  }
}

async function writeAnswer(
  { model, sequence }: GenerationTarget,
  prompt: ChatPrompt,
  sampling: Sampling,
  sink: GenerationSink,
  signal: AbortSignal,
): Promise<GenerationEnd> {
  const generated: Token[] = [];
  const answer = new Answer(model, [...sampling.stop, ...prompt.endTexts]);
  const promptTokens = prompt.tokens.length;
  const end = (finishReason: GenerationEnd["finishReason"]) => {
    if (!answer.stopped) sink.text(answer.rest(), 0);
    return { finishReason, usage: { promptTokens, completionTokens: generated.length } };
  };
  for await (const token of sequence.evaluate(prompt.tokens.slice(-1), optionsOf(sampling, generated))) {
    throwIfCancelled(signal);
    // With yieldEogToken the generator goes on after an end token, so this is what ends it.
    if (model.isEogToken(token) || prompt.endTokens.has(token)) return end("stop");
    generated.push(token);
    const text = answer.push(token);
    sink.text(text, 1);
    if (answer.stopped) return end("stop");
    if (generated.length >= sampling.maxTokens) return end("length");
  }
  // Nothing ends the generator but an end token, which it yields.
  throw new EngineError("ENGINE_FAILED", "the engine stopped without an end");
}

/** Whole characters, without leading blanks, up to a stop text. */
class Answer {
  readonly #text: TokenText<Token>;
  readonly #scanner: StopScanner;
  #begun = false;

  constructor(model: LlamaModel, stops: readonly string[]) {
    this.#text = new TokenText<Token>((tokens, before) => model.detokenize(tokens, false, before));
    this.#scanner = new StopScanner(stops);
  }

  get stopped(): boolean {
    return this.#scanner.stopped;
  }

  push(token: Token): string {
    return this.#trim(this.#scanner.push(this.#text.push(token)));
  }

  rest(): string {
    const last = this.#scanner.push(this.#text.flush());
    return this.#trim(last + this.#scanner.flush());
  }

  #trim(text: string): string {
    const trimmed = this.#begun ? text : text.trimStart();
    this.#begun ||= trimmed !== "";
    return trimmed;
  }
}

function optionsOf(sampling: Sampling, generated: readonly Token[]): SequenceEvaluateOptions {
  const { temperature, topP, topK, seed, presencePenalty, frequencyPenalty } = sampling;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0;
  return {
    temperature,
    topP,
    topK,
    minP: 0,
    seed,
    yieldEogToken: true,
    ...(penalised && {
      repeatPenalty: {
        punishTokens: () => generated.slice(-penaltyTokens),
        maxPunishTokens: penaltyTokens,
        penalty: 1,
        presencePenalty,
        frequencyPenalty,
      },
    }),
    // Output ends before the context does; were that wrong, dropping the guard prompt would be the worst answer.
    contextShift: {
      strategy: () => {
        throw new EngineError("CONTEXT_OVERFLOW", "the model's context is full");
      },
    },
  };
}

function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw new EngineError("CANCELLED", "the run was cancelled");
}
