/** Runs jobs at most `concurrency` at a time; jobs of one key one after the other, in the order in which they came. */
export class WorkQueue {
  readonly #concurrency: number;
  readonly #tails = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** `job` never rejects. Without a key it waits for a free place only. */
  async run(key: string | undefined, job: () => Promise<void>): Promise<void> {
    if (key === undefined) return await this.#withPlace(job);
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(() => this.#withPlace(job));
    this.#tails.set(key, mine);
    await mine;
    if (this.#tails.get(key) === mine) this.#tails.delete(key);
  }

  async #withPlace(job: () => Promise<void>): Promise<void> {
    if (this.#active >= this.#concurrency) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#active += 1;
    try {
      await job();
    } finally {
      // The place passes on; the count stays.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#active -= 1;
    }
  }
}
