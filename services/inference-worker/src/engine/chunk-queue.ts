import type { Chunk, EngineError } from "./engine.ts";

/** Between an engine that pushes and a run that pulls. Bounded: a run cannot say more than its model's context. */
export class ChunkQueue implements AsyncIterable<Chunk> {
  readonly #chunks: Chunk[] = [];
  readonly #maxCharacters: number;
  #characters = 0;
  #ended: { error?: EngineError } | undefined;
  #wake: (() => void) | undefined;

  constructor(maxCharacters: number) {
    this.#maxCharacters = maxCharacters;
  }

  /** False when the engine said more than it may: the caller ends it. */
  push(chunk: Chunk): boolean {
    if (this.#ended !== undefined) return true;
    this.#characters += chunk.text.length;
    if (this.#characters > this.#maxCharacters) return false;
    this.#chunks.push(chunk);
    this.#notify();
    return true;
  }

  end(): void {
    this.#ended ??= {};
    this.#notify();
  }

  /** What was pushed before and not yet read is dropped: a failed run says nothing more. */
  fail(error: EngineError): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    this.#chunks.length = 0;
    this.#notify();
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#ended?.error !== undefined) throw this.#ended.error;
      else if (this.#ended !== undefined) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
