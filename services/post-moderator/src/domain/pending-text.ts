/**
 * What door 2 has let out of one output and what it still keeps back. Pure: text in, text out.
 * A tail that may be an unfinished word or link is kept until the next window shows what it is.
 */

/** A change to the judged text: [start, end) is replaced. Offsets in UTF-16 units of the judged text. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

export interface Release {
  readonly text: string;
  readonly edited: boolean;
}

export class PendingText {
  readonly #contextChars: number;
  #released = "";
  #pending = "";
  #whole = "";

  constructor(contextChars: number) {
    this.#contextChars = contextChars;
  }

  /** Everything the model wrote so far, unchanged. */
  get whole(): string {
    return this.#whole;
  }

  append(text: string): void {
    this.#pending += text;
    this.#whole += text;
  }

  /** For undoing an append or take whose outcome could not be told to anybody. */
  snapshot(): readonly [string, string, string] {
    return [this.#released, this.#pending, this.#whole];
  }

  restore(snapshot: readonly [string, string, string]): void {
    [this.#released, this.#pending, this.#whole] = snapshot;
  }

  /** The whole with the edits applied (offsets in the whole). */
  editedWhole(edits: readonly Edit[]): Release {
    const fresh = new PendingText(0);
    fresh.append(this.#whole);
    return fresh.take(0, edits, true);
  }

  /** What is judged: the end of what was released, then what is pending. `from` is where the pending part begins. */
  get view(): { text: string; from: number } {
    const context = this.#contextChars === 0 ? "" : this.#released.slice(-this.#contextChars);
    return { text: context + this.#pending, from: context.length };
  }

  /**
   * Takes what may go: up to `openFrom` (an offset in the view's text; its end when `all`), with the edits applied. No edit
   * is cut in two, and what lies in the released part stays as it was released.
   */
  take(openFrom: number, edits: readonly Edit[], all: boolean): Release {
    const { text, from } = this.view;
    const due = edits.filter((edit) => edit.end > from).sort((a, b) => a.start - b.start);
    let until = all ? text.length : Math.max(from, Math.min(openFrom, text.length));
    for (const edit of due) if (!all && edit.start < until && edit.end > until) until = Math.max(from, edit.start);
    if (!all) until = wholeCharacter(text, until);
    let out = "";
    let at = from;
    let edited = false;
    for (const edit of due) {
      if (edit.start >= until) break;
      out += text.slice(at, Math.max(at, edit.start)) + edit.replacement;
      at = Math.max(at, edit.end);
      edited = true;
    }
    out += text.slice(at, until);
    this.#pending = text.slice(Math.max(until, at));
    this.#released = this.#contextChars === 0 ? "" : (this.#released + out).slice(-this.#contextChars);
    return { text: out, edited };
  }
}

/** Never between the halves of a surrogate pair. */
function wholeCharacter(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  return at > 0 && unit >= 0xd800 && unit <= 0xdbff ? at - 1 : at;
}
