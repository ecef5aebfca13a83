import { setImmediate } from "node:timers/promises";
import type { WindowText } from "../domain/window-cutter.ts";

export interface Sending {
  /** Said once, before any other window. */
  readonly begin: (first: WindowText | undefined) => Promise<void>;
  readonly send: (window: WindowText) => Promise<void>;
  /** So long the beginning waits for a first window. */
  readonly patienceMs: number;
}

/** UTF-16 units that may wait; then the engine does. */
const maxWaiting = 8_192;

/**
 * Brings a run's start and windows to the bus, one message at a time and in order, while the engine goes on. What is cut while one is on its way,
 * or in the same turn of the event loop, goes out as one window: a model that is faster than the bus is not slowed down by it.
 */
export class WindowSender {
  readonly #sending: Sending;
  readonly #stirred = Promise.withResolvers<void>();
  #waiting: WindowText | undefined;
  #work: Promise<void>;
  #working = true;
  #failure: { readonly error: unknown } | undefined;

  constructor(sending: Sending) {
    this.#sending = sending;
    this.#work = this.#run(() => this.#begin());
  }

  /** Resolves when there is room for another. Rejects with what kept an earlier one from being sent. */
  async push({ text, ...end }: WindowText): Promise<void> {
    this.#waiting = { ...end, text: (this.#waiting?.text ?? "") + text };
    this.#stirred.resolve();
    if (!this.#working) this.#work = this.#run();
    if (this.#waiting.text.length > maxWaiting) await this.#work;
    this.#throwFailure();
  }

  /** Resolves once everything is sent. */
  async end(): Promise<void> {
    this.#stirred.resolve();
    await this.#work;
    this.#throwFailure();
  }

  /** Sends nothing more; resolves when what was on its way has arrived, or failed. */
  async stop(): Promise<void> {
    this.#failure ??= { error: new Error("the run has ended") };
    this.#stirred.resolve();
    await this.#work;
  }

  async #begin(): Promise<void> {
    const timer = setTimeout(() => this.#stirred.resolve(), this.#sending.patienceMs);
    await this.#stirred.promise;
    clearTimeout(timer);
    await setImmediate();
    if (this.#failure === undefined) await this.#sending.begin(this.#take());
  }

  /** Never rejects. */
  async #run(begin?: () => Promise<void>): Promise<void> {
    this.#working = true;
    try {
      await begin?.();
      // What came from the engine in one piece is cut within this turn.
      if (begin === undefined) await setImmediate();
      while (this.#failure === undefined) {
        const window = this.#take();
        if (window === undefined) break;
        await this.#sending.send(window);
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#working = false;
  }

  #take(): WindowText | undefined {
    const window = this.#waiting;
    this.#waiting = undefined;
    return window;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
