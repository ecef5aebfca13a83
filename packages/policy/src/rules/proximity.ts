/** A term seen at a place in a view. */
export interface Occurrence {
  /** number of the word in the view */
  word: number;
  /** span in the original text */
  start: number;
  end: number;
}

/**
 * All slots within so many words, in one pass over occurrences in text order: only the latest of each slot matters.
 * Occurrences that overlap cannot fill two slots.
 */
export class ProximityTracker {
  readonly #within: number;
  readonly #ordered: boolean;
  readonly #latest: (Occurrence | undefined)[];
  #lastStart = -1;

  constructor(slots: number, within: number, ordered = false) {
    this.#within = within;
    this.#ordered = ordered;
    this.#latest = new Array<Occurrence | undefined>(slots);
  }

  /** Returns the span that holds one of each slot when this occurrence completes it. */
  add(slots: readonly number[], seen: Occurrence): Occurrence | undefined {
    for (const slot of slots) {
      const others = this.#othersComplete(slot, seen);
      if (others !== undefined && others.start !== this.#lastStart) {
        this.#lastStart = others.start;
        this.#remember(slots, seen);
        return others;
      }
    }
    this.#remember(slots, seen);
    return undefined;
  }

  #remember(slots: readonly number[], seen: Occurrence): void {
    for (const slot of slots) this.#latest[slot] = seen;
  }

  #othersComplete(slot: number, seen: Occurrence): Occurrence | undefined {
    let { start, end, word } = seen;
    for (let i = 0; i < this.#latest.length; i++) {
      if (i === slot) continue;
      const other = this.#latest[i];
      if (other === undefined || seen.word - other.word > this.#within) return undefined;
      if (this.#ordered && i < slot !== other.start < seen.start) return undefined;
      if (other.start < seen.end && seen.start < other.end) return undefined;
      start = Math.min(start, other.start);
      end = Math.max(end, other.end);
      word = Math.min(word, other.word);
    }
    return { start, end, word };
  }
}
