import { UnitClass, unitClasses } from "../normalise/classes.ts";
import type { MappedText, View } from "../normalise/index.ts";
import { findProperNames } from "./proper-names.ts";
import { type Occurrence, ProximityTracker } from "./proximity.ts";
import { type Derived, properNameList, type Rule } from "./schema.ts";
import type { TermIndex } from "./terms.ts";

/** In a view without spaces, so many units stand for a word. */
const unitsPerWord = 5;

/** Slots by list: list index → the slots that it fills; -1 is the list of proper names. */
export type SlotsOfList = Map<number, number[]>;

/** What was found in one view: list index → occurrences in text order. */
export interface Sighting {
  view: View;
  seen: Map<number, Occurrence[]>;
  names: () => Occurrence[];
}

export function slotsByList(slots: { all: string[][] }, index: TermIndex): SlotsOfList {
  const slotsOfList: SlotsOfList = new Map();
  slots.all.forEach((lists, slot) => {
    for (const name of lists) {
      const list = name === properNameList ? -1 : index.lists.indexOf(name);
      slotsOfList.set(list, [...(slotsOfList.get(list) ?? []), slot]);
    }
  });
  return slotsOfList;
}

export function sightTerms(view: View, index: TermIndex): Map<number, Occurrence[]> {
  const seen = new Map<number, Occurrence[]>();
  const wordAt = wordCounter(view);
  index.scan(view.name, view.text, (list, start, end) => {
    const occurrence = {
      word: wordAt(end),
      start: view.text.starts[start] as number,
      end: view.text.ends[end - 1] as number,
    };
    const known = seen.get(list);
    if (known === undefined) seen.set(list, [occurrence]);
    else known.push(occurrence);
  });
  return seen;
}

/** Spans that hold one item of each slot, near enough to each other. */
export function combine(slots: Derived, slotsOfList: SlotsOfList, { view, seen, names }: Sighting): Occurrence[] {
  const filled = new Set<number>();
  for (const [list, filledBy] of slotsOfList) if (seen.has(list)) for (const slot of filledBy) filled.add(slot);
  const named = view.name === "folded" ? (slotsOfList.get(-1) ?? []) : [];
  // Names are only searched when nothing but a name is missing.
  if (slots.all.some((_, slot) => !filled.has(slot) && !named.includes(slot))) return [];
  const events: { slots: number[]; seen: Occurrence }[] = [];
  for (const [list, filledBy] of slotsOfList) {
    const found = list >= 0 ? (seen.get(list) ?? []) : named.length > 0 ? locate(names(), view) : [];
    for (const occurrence of found) events.push({ slots: filledBy, seen: occurrence });
  }
  events.sort((a, b) => a.seen.word - b.seen.word || a.seen.start - b.seen.start);
  const tracker = new ProximityTracker(slots.all.length, slots.within, slots.ordered);
  return events.flatMap((event) => tracker.add(event.slots, event.seen) ?? []);
}

/** Contexts of a rule that occur near the span, by name. */
export function contextsNear(
  rule: Rule,
  index: TermIndex,
  seen: Map<number, Occurrence[]>,
  span: Occurrence,
): string[] {
  const within = rule.contextWithin ?? Number.POSITIVE_INFINITY;
  return (rule.contexts ?? []).filter((name) => {
    const found = seen.get(index.lists.indexOf(name)) ?? [];
    if (within === Number.POSITIVE_INFINITY) return found.length > 0;
    const at = lowerBound(found.length, (i) => (found[i] as Occurrence).word >= span.word - within);
    return at < found.length && (found[at] as Occurrence).word <= span.word + within;
  });
}

/** Counts words up to a position; positions must be asked for in ascending order. */
function wordCounter(view: View): (end: number) => number {
  if (view.name === "spaced" || view.name === "squashed") return (end) => Math.floor(end / unitsPerWord);
  const { units } = view.text;
  let at = 0;
  let word = 0;
  return (end) => {
    // A trailing border space belongs to the term before it.
    for (; at < end - 1; at++) {
      const unit = units[at] as number;
      if (unit === 0x20 || unitClasses[unit] === UnitClass.unspaced) word++;
    }
    return word;
  };
}

/** Places spans of the original text among the words of a view. */
function locate(spans: Occurrence[], view: View): Occurrence[] {
  const wordAt = wordCounter(view);
  return spans.map((span) => ({ ...span, word: wordAt(unitAt(view.text, span.start) + 1) }));
}

function unitAt(text: MappedText, start: number): number {
  return lowerBound(text.length, (i) => (text.starts[i] as number) >= start);
}

function lowerBound(length: number, reached: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Names of the original text, looked for once and only when asked. */
export function lazyNames(original: string): () => Occurrence[] {
  let made: Occurrence[] | undefined;
  return () => {
    made ??= findProperNames(original).map((span) => ({ ...span, word: 0 }));
    return made;
  };
}
