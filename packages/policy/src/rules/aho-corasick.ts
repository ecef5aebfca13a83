/**
 * Finds every occurrence of many patterns in one pass over UTF-16 code units (Aho and Corasick, 1975): time is linear
 * in the text plus the number of occurrences, whatever the patterns are. Edges live in one open-addressing table, so
 * memory follows the total length of the patterns and not the size of the alphabet.
 */
export interface AhoCorasick {
  /** Calls back with the pattern's index and the end of the occurrence (exclusive), in order of ends. */
  scan(units: Uint16Array, length: number, found: (pattern: number, end: number) => void): void;
}

interface Trie {
  children: Map<number, number>[];
  /** patterns that end in a state */
  ending: number[][];
}

export function buildAhoCorasick(patterns: readonly Uint16Array[]): AhoCorasick {
  const trie = buildTrie(patterns);
  const count = trie.children.length;
  const table = new EdgeTable(count);
  const root = new Int32Array(0x10000);
  const fail = new Int32Array(count);
  // The next state on the failure path in which a pattern ends: occurrences are listed without dead steps.
  const nextEnding = new Int32Array(count);
  for (const [unit, child] of trie.children[0] as Map<number, number>) root[unit] = child;
  for (const state of breadthFirst(trie)) {
    for (const [unit, child] of trie.children[state] as Map<number, number>) {
      if (state !== 0) table.set(state, unit, child);
      const target = state === 0 ? 0 : step(table, root, fail, fail[state] as number, unit);
      fail[child] = target;
      nextEnding[child] = (trie.ending[target] as number[]).length > 0 ? target : (nextEnding[target] as number);
    }
  }
  return {
    scan(units, length, found) {
      let state = 0;
      for (let i = 0; i < length; i++) {
        state = step(table, root, fail, state, units[i] as number);
        for (let s = state; s !== 0; s = nextEnding[s] as number) {
          for (const pattern of trie.ending[s] as number[]) found(pattern, i + 1);
        }
      }
    },
  };
}

function step(table: EdgeTable, root: Int32Array, fail: Int32Array, from: number, unit: number): number {
  let state = from;
  while (state !== 0) {
    const next = table.get(state, unit);
    if (next !== 0) return next;
    state = fail[state] as number;
  }
  return root[unit] as number;
}

function buildTrie(patterns: readonly Uint16Array[]): Trie {
  const trie: Trie = { children: [new Map()], ending: [[]] };
  patterns.forEach((pattern, index) => {
    if (pattern.length === 0) throw new RangeError("an empty pattern would match everywhere");
    let state = 0;
    for (const unit of pattern) {
      const children = trie.children[state] as Map<number, number>;
      let next = children.get(unit);
      if (next === undefined) {
        next = trie.children.push(new Map()) - 1;
        trie.ending.push([]);
        children.set(unit, next);
      }
      state = next;
    }
    (trie.ending[state] as number[]).push(index);
  });
  return trie;
}

function breadthFirst(trie: Trie): number[] {
  const order = [0];
  for (let i = 0; i < order.length; i++) {
    for (const child of (trie.children[order[i] as number] as Map<number, number>).values()) order.push(child);
  }
  return order;
}

/** (state, unit) → state, with linear probing; 0 means no edge, since nothing leads back to the root. */
class EdgeTable {
  readonly #mask: number;
  readonly #states: Int32Array;
  readonly #units: Uint16Array;
  readonly #targets: Int32Array;

  constructor(edges: number) {
    let size = 16;
    while (size < edges * 2) size *= 2;
    this.#mask = size - 1;
    this.#states = new Int32Array(size);
    this.#units = new Uint16Array(size);
    this.#targets = new Int32Array(size);
  }

  set(state: number, unit: number, target: number): void {
    let at = this.#slot(state, unit);
    while (this.#targets[at] !== 0) at = (at + 1) & this.#mask;
    this.#states[at] = state;
    this.#units[at] = unit;
    this.#targets[at] = target;
  }

  get(state: number, unit: number): number {
    for (let at = this.#slot(state, unit); ; at = (at + 1) & this.#mask) {
      const target = this.#targets[at] as number;
      if (target === 0 || (this.#states[at] === state && this.#units[at] === unit)) return target;
    }
  }

  #slot(state: number, unit: number): number {
    return ((Math.imul(state, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 7) & this.#mask;
  }
}
