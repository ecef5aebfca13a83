import { UnitClass, unitClasses } from "../normalise/classes.ts";
import { type MappedText, patternForms, type ViewName } from "../normalise/index.ts";
import { type AhoCorasick, buildAhoCorasick } from "./aho-corasick.ts";
import type { RuleFile } from "./schema.ts";

/** Which shape of a term is looked for in a view. */
type Shape = "folded" | "leet" | "squashed";

const shapeOfView: Record<ViewName, Shape> = {
  folded: "folded",
  tags: "folded",
  leet: "leet",
  joined: "leet",
  spaced: "squashed",
  squashed: "squashed",
};

export interface TermSettings {
  /** shortest term, in weights, to look for in spelled-out runs, where word borders are unknown */
  spacedMinLength: number;
  /** shortest term, in weights, to look for in the squashed view, where nothing is left but letters */
  squashedMinLength: number;
}

/** A letter weighs 1; a character of a script without spaces weighs as much as a short word. */
const unspacedWeight = 3;

export interface TermIndex {
  readonly lists: readonly string[];
  /** Calls back with a list's index and the span of the term in the view's units (without border spaces). */
  scan(view: ViewName, text: MappedText, found: (list: number, start: number, end: number) => void): void;
  readonly termCount: number;
}

interface Pattern {
  lists: number[];
  length: number;
  /** border spaces at either end */
  lead: number;
  tail: number;
  weight: number;
}

export function buildTermIndex(files: readonly RuleFile[], settings: TermSettings): TermIndex {
  const lists: string[] = [];
  const collectors = { folded: new Collector(), leet: new Collector(), squashed: new Collector() };
  let termCount = 0;
  for (const file of files) {
    for (const name of Object.keys(file.derived ?? {})) lists.push(name);
    for (const [name, terms] of Object.entries(file.lists ?? {})) {
      if (!lists.includes(name)) lists.push(name);
      const list = lists.indexOf(name);
      for (const term of terms) addTerm(collectors, term, list);
      termCount += terms.length;
    }
  }
  const built = {
    folded: collectors.folded.build(),
    leet: collectors.leet.build(),
    squashed: collectors.squashed.build(),
  };
  const minWeight = (view: ViewName): number =>
    view === "spaced" ? settings.spacedMinLength : view === "squashed" ? settings.squashedMinLength : 0;
  return {
    lists,
    termCount,
    scan(view, text, found) {
      const { automaton, patterns } = built[shapeOfView[view]];
      const least = minWeight(view);
      automaton.scan(text.units, text.length, (index, end) => {
        const pattern = patterns[index] as Pattern;
        if (pattern.weight < least) return;
        for (const list of pattern.lists) found(list, end - pattern.length + pattern.lead, end - pattern.tail);
      });
    },
  };
}

class Collector {
  readonly #patterns = new Map<string, Pattern & { units: Uint16Array }>();

  add(units: Uint16Array, lead: number, tail: number, list: number): void {
    if (units.length - lead - tail < 1) return;
    const key = String.fromCharCode(...units);
    const known = this.#patterns.get(key);
    if (known === undefined) {
      this.#patterns.set(key, { units, lists: [list], length: units.length, lead, tail, weight: weigh(units) });
    } else if (!known.lists.includes(list)) {
      known.lists.push(list);
    }
  }

  build(): { automaton: AhoCorasick; patterns: Pattern[] } {
    const patterns = [...this.#patterns.values()];
    return { automaton: buildAhoCorasick(patterns.map((pattern) => pattern.units)), patterns };
  }
}

function addTerm(to: Record<Shape, Collector>, term: string, list: number): void {
  const open = { lead: term.startsWith("*"), tail: term.endsWith("*") };
  const forms = patternForms(term.replaceAll("*", ""));
  addBounded(to.folded, forms.folded, open, list);
  addBounded(to.leet, forms.leet, open, list);
  addBounded(to.leet, forms.joined, open, list);
  to.squashed.add(forms.squashed.units.slice(0, forms.squashed.length), 0, 0, list);
}

/** Forms come with a border space at each end; an open end, or a script without spaces, needs none. */
function addBounded(to: Collector, form: MappedText, open: { lead: boolean; tail: boolean }, list: number): void {
  if (form.length < 3) return;
  const lead = open.lead || isUnspaced(form.units[1]) ? 0 : 1;
  const tail = open.tail || isUnspaced(form.units[form.length - 2]) ? 0 : 1;
  to.add(form.units.slice(1 - lead, form.length - 1 + tail), lead, tail, list);
}

function isUnspaced(unit: number | undefined): boolean {
  return unit !== undefined && unitClasses[unit] === UnitClass.unspaced;
}

function weigh(units: Uint16Array): number {
  let weight = 0;
  for (const unit of units) weight += isUnspaced(unit) ? unspacedWeight : unit === 0x20 ? 0 : 1;
  return weight;
}
