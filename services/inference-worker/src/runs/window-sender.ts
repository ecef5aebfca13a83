import type { WindowText } from "../domain/window-cutter.ts";

/** UTF-16 units that may wait; then the engine does. */
const maxWaiting = 8_192;

/**
 * Brings windows to the bus, one message at a time and in order, while the engine goes on. What is cut while one is on its way
 * goes out as one window: a model that is faster than the bus is not slowed down by it.
 */
export class WindowSender {
  readonly #send: (window: WindowText) => Promise<void>;
  #waiting: WindowText | undefined;
  #work: Promise<void>;
  #working = true;
  #failure: { readonly error: unknown } | undefined;

  /** `begun`: before it nothing is sent, and after its failure nothing at all. */
  constructor(begun: Promise<void>, send: (window: WindowText) => Promise<void>) {
    this.#send = send;
    this.#work = this.#run(begun);
  }

  /** Resolves when there is room for another. Rejects with what kept an earlier one from being sent. */
  async push({ text, ...end }: WindowText): Promise<void> {
    this.#waiting = { ...end, text: (this.#waiting?.text ?? "") + text };
    if (!this.#working) this.#work = this.#run();
    if (this.#waiting.text.length > maxWaiting) await this.#work;
    this.#throwFailure();
  }

  /** Resolves once everything is sent. */
  async end(): Promise<void> {
    await this.#work;
    this.#throwFailure();
  }

  /** Sends nothing more; resolves when what was on its way has arrived, or failed. */
  async stop(): Promise<void> {
    this.#failure ??= { error: new Error("the run has ended") };
    await this.#work;
  }

  /** Never rejects. */
  async #run(begun?: Promise<void>): Promise<void> {
    this.#working = true;
    try {
      await begun;
      while (this.#waiting !== undefined && this.#failure === undefined) {
        const window = this.#waiting;
        this.#waiting = undefined;
        await this.#send(window);
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#working = false;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
