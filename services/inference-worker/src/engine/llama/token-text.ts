const replacement = "\ufffd";
/** Longer runs of tokens without a whole character are not UTF-8 in the making. */
const maxPendingTokens = 32;
/** Context that detokenisers want, to know about spaces between words. */
const lastTokens = 8;

/** Turns tokens, of which one may end inside a character, into text that grows by whole characters only. */
export class TokenText<T> {
  readonly #detokenize: (tokens: readonly T[], before: readonly T[]) => string;
  #before: T[] = [];
  #pending: T[] = [];
  /** How much of the pending tokens' text is out already. */
  #taken = 0;

  constructor(detokenize: (tokens: readonly T[], before: readonly T[]) => string) {
    this.#detokenize = detokenize;
  }

  push(token: T): string {
    this.#pending.push(token);
    const text = this.#detokenize(this.#pending, this.#before);
    if (!text.endsWith(replacement) || this.#pending.length > maxPendingTokens) return this.#settle(text);
    let whole = text.length;
    while (whole > this.#taken && text[whole - 1] === replacement) whole -= 1;
    const fresh = text.slice(this.#taken, whole);
    this.#taken = whole;
    return fresh;
  }

  /** Half a character at the end stays what it is: a replacement character. */
  flush(): string {
    return this.#pending.length === 0 ? "" : this.#settle(this.#detokenize(this.#pending, this.#before));
  }

  #settle(text: string): string {
    const fresh = text.slice(this.#taken);
    this.#before = [...this.#before, ...this.#pending].slice(-lastTokens);
    this.#pending = [];
    this.#taken = 0;
    return fresh;
  }
}
