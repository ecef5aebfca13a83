import type { Agent } from "node:http";
import { type Chunk, type Engine, EngineError, type GenerationRequest } from "../engine.ts";
import { CompletionReader, requestBody } from "./completion.ts";
import { type Call, type CallTimeouts, call, connectionsTo } from "./http-call.ts";
import { readEvents } from "./sse.ts";

export interface RemoteEngineOptions {
  /** Of an OpenAI-compatible server inside the chamber, without `/v1/…`. */
  baseUrl: string;
  /** The model's name there. */
  model: string;
  timeouts: CallTimeouts;
  /** PEM of the authorities that an https server is checked against. */
  ca?: string;
}

const maxErrorBytes = 65_536;
const maxListBytes = 1024 * 1024;
const maxCharactersPerToken = 256;

/** A model served beside the worker. That it is the approved one is the operator's word: its weights are not seen here. */
export class RemoteEngine implements Engine {
  readonly kind = "remote";
  readonly #options: RemoteEngineOptions;
  readonly #base: URL;
  readonly #connections: Agent;
  readonly #stop = new AbortController();
  #ready = false;

  constructor(options: RemoteEngineOptions) {
    this.#options = options;
    const { baseUrl, ca } = options;
    this.#base = new URL(baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`);
    this.#connections = connectionsTo(this.#base, ca);
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Asks the server whether it has the model. */
  async load(signal: AbortSignal): Promise<void> {
    const answer = await this.#call("v1/models", undefined, signal);
    const body = await readAll(answer.body, maxListBytes);
    if (answer.status !== 200) throw refusal(answer.status, body);
    if (!listsModel(body, this.#options.model)) {
      throw new EngineError("ENGINE_UNAVAILABLE", "the model server does not have this model");
    }
    this.#ready = true;
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<Chunk, void, void> {
    if (!this.#ready) throw new EngineError("ENGINE_UNAVAILABLE", "the model server was not asked yet");
    const answer = await this.#call("v1/chat/completions", requestBody(this.#options.model, request), signal);
    if (answer.status !== 200) throw refusal(answer.status, await readAll(answer.body, maxErrorBytes));
    if (!answer.contentType.startsWith("text/event-stream")) {
      await readAll(answer.body, 0);
      throw new EngineError("ENGINE_FAILED", "the model server does not stream");
    }
    const reader = new CompletionReader(request.sampling.maxTokens * maxCharactersPerToken);
    for await (const data of readEvents(answer.body)) {
      if (data === "[DONE]") {
        answer.over();
        break;
      }
      const chunk = reader.read(data);
      if (chunk !== undefined) yield chunk;
    }
    yield reader.end();
  }

  async unload(): Promise<void> {
    this.#ready = false;
    this.#stop.abort();
    this.#connections.destroy();
  }

  #call(path: string, body: string | undefined, signal: AbortSignal): Promise<Call> {
    return call({
      url: new URL(path, this.#base),
      ...(body !== undefined && { body }),
      timeouts: this.#options.timeouts,
      connections: this.#connections,
      signal: AbortSignal.any([signal, this.#stop.signal]),
    });
  }
}

/** What fits; the rest is not read. */
async function readAll(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > maxBytes) break;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function listsModel(body: string, model: string): boolean {
  try {
    const { data } = JSON.parse(body) as { data?: { id?: unknown }[] };
    return Array.isArray(data) && data.some((entry) => entry?.id === model);
  } catch {
    return false;
  }
}

/** The server's words stay here: they may quote the prompt. */
function refusal(status: number, body: string): EngineError {
  if (status === 400 || status === 413 || status === 422) {
    const tooLong = /context_length_exceeded|maximum context length|exceed_context_size/i.test(body);
    if (tooLong) return new EngineError("CONTEXT_OVERFLOW", "the conversation is longer than the model's context");
    return new EngineError("PROMPT_UNUSABLE", `the model server refused the prompt (status ${status})`);
  }
  if (status === 429 || status === 503) return new EngineError("ENGINE_UNAVAILABLE", "the model server is busy");
  return new EngineError("ENGINE_FAILED", `the model server answered with status ${status}`);
}
