/** Finds stop texts in a stream, also across pieces. Keeps back only what may yet become one. */
export class StopScanner {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Text that is certain to be output. The stop text, and whatever follows it, is not. */
  push(text: string): string {
    if (this.#stopped) return "";
    const seen = this.#held + text;
    const at = this.#firstStop(seen);
    if (at >= 0) {
      this.#stopped = true;
      this.#held = "";
      return seen.slice(0, at);
    }
    const keep = this.#possibleStart(seen);
    this.#held = seen.slice(seen.length - keep);
    return seen.slice(0, seen.length - keep);
  }

  /** The rest, once nothing follows. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  #firstStop(text: string): number {
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    return found.length === 0 ? -1 : Math.min(...found);
  }

  /** Length of the longest end of `text` that begins a stop text. */
  #possibleStart(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length -= 1) {
        if (stop.startsWith(text.slice(text.length - length))) longest = length;
      }
    }
    return longest;
  }
}
