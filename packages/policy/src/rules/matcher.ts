import { UnitClass, unitClasses } from "../normalise/classes.ts";
import { type MappedText, type Normalised, type View, viewNames } from "../normalise/index.ts";
import { compileFormats } from "./formats.ts";
import { findProperNames } from "./proper-names.ts";
import { type Occurrence, ProximityTracker } from "./proximity.ts";
import {
  type AllRule,
  type AnyRule,
  checkRuleFiles,
  type Hit,
  properNameList,
  type Rule,
  type RuleFile,
} from "./schema.ts";
import { buildTermIndex, type TermIndex, type TermSettings } from "./terms.ts";

export interface MatcherSettings extends TermSettings {
  /** hits kept of one rule; more are cut and reported as truncated */
  maxHitsPerRule: number;
}

export interface MatchResult {
  /** ordered by start, then end, then rule */
  hits: Hit[];
  /** a rule had more hits than are kept */
  truncated: boolean;
}

export interface Matcher {
  match(text: Normalised): MatchResult;
  readonly termCount: number;
}

/** In a view without spaces, so many units stand for a word. */
const unitsPerWord = 5;

type Compiled =
  | { rule: AnyRule; slotsOfList: undefined }
  /** list index → the slots that it fills; -1 is the list of proper names */
  | { rule: AllRule; slotsOfList: Map<number, number[]> };

/** Checks and compiles rule files; throws TypeError naming every fault. */
export function compileMatcher(files: readonly RuleFile[], settings: MatcherSettings): Matcher {
  checkRuleFiles(files);
  const index = buildTermIndex(files, settings);
  const rules = files.flatMap((file) => file.rules ?? []).map((rule) => compileRule(rule, index));
  const matchFormats = compileFormats(files.flatMap((file) => file.formats ?? []));
  return {
    termCount: index.termCount,
    match(text) {
      const sink = new HitSink(settings.maxHitsPerRule);
      const names = lazy(() => findProperNames(text.original));
      for (const view of text.views) matchView(view, index, rules, names, sink);
      matchFormats(text.visible, (hit) => sink.add(hit));
      return sink.result();
    },
  };
}

function compileRule(rule: Rule, index: TermIndex): Compiled {
  if (!("all" in rule)) return { rule, slotsOfList: undefined };
  const slotsOfList = new Map<number, number[]>();
  rule.all.forEach((lists, slot) => {
    for (const name of lists) {
      const list = name === properNameList ? -1 : index.lists.indexOf(name);
      slotsOfList.set(list, [...(slotsOfList.get(list) ?? []), slot]);
    }
  });
  return { rule, slotsOfList };
}

function matchView(
  view: View,
  index: TermIndex,
  rules: readonly Compiled[],
  names: () => Occurrence[],
  sink: HitSink,
): void {
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
  for (const compiled of rules) {
    if (compiled.rule.views !== undefined && !compiled.rule.views.includes(view.name)) continue;
    for (const span of spansOf(compiled, view, index, seen, names)) {
      sink.add(toHit(compiled.rule, view, span, contextsNear(compiled.rule, index, seen, span)));
    }
  }
}

function spansOf(
  compiled: Compiled,
  view: View,
  index: TermIndex,
  seen: Map<number, Occurrence[]>,
  names: () => Occurrence[],
): Occurrence[] {
  if (compiled.slotsOfList === undefined) {
    return compiled.rule.any.flatMap((name) => seen.get(index.lists.indexOf(name)) ?? []);
  }
  const { rule, slotsOfList } = compiled;
  const filled = new Set<number>();
  for (const [list, slots] of slotsOfList) if (list >= 0 && seen.has(list)) for (const slot of slots) filled.add(slot);
  const named = slotsOfList.get(-1) ?? [];
  // Names are only searched when nothing but a name is missing.
  if (rule.all.some((_, slot) => !filled.has(slot) && !(view.name === "folded" && named.includes(slot)))) return [];
  const events: { slots: number[]; seen: Occurrence }[] = [];
  for (const [list, slots] of slotsOfList) {
    const found = list >= 0 ? (seen.get(list) ?? []) : view.name === "folded" ? locate(names(), view) : [];
    for (const occurrence of found) events.push({ slots, seen: occurrence });
  }
  events.sort((a, b) => a.seen.word - b.seen.word);
  const tracker = new ProximityTracker(rule.all.length, rule.within);
  return events.flatMap((event) => tracker.add(event.slots, event.seen) ?? []);
}

/** Contexts of a rule that occur near the span, by name. */
function contextsNear(rule: Rule, index: TermIndex, seen: Map<number, Occurrence[]>, span: Occurrence): string[] {
  const within = rule.contextWithin ?? Number.POSITIVE_INFINITY;
  return (rule.contexts ?? []).filter((name) => {
    const found = seen.get(index.lists.indexOf(name)) ?? [];
    if (within === Number.POSITIVE_INFINITY) return found.length > 0;
    const at = lowerBound(found.length, (i) => (found[i] as Occurrence).word >= span.word - within);
    return at < found.length && (found[at] as Occurrence).word <= span.word + within;
  });
}

function toHit(rule: Rule, view: View, span: Occurrence, contexts: string[]): Hit {
  const { id: ruleId, category, severity } = rule;
  return { ruleId, category, severity, start: span.start, end: span.end, view: view.name, contexts };
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

function lazy(make: () => { start: number; end: number }[]): () => Occurrence[] {
  let made: Occurrence[] | undefined;
  return () => {
    made ??= make().map((span) => ({ ...span, word: 0 }));
    return made;
  };
}

/** Keeps the hits of each rule apart, drops those that a plainer view already showed, and bounds their number. */
class HitSink {
  readonly #max: number;
  readonly #byRule = new Map<string, Hit[]>();
  readonly #order: readonly string[] = [...viewNames, "visible"];
  #truncated = false;

  constructor(max: number) {
    this.#max = max;
  }

  add(hit: Hit): void {
    const known = this.#byRule.get(hit.ruleId);
    if (known === undefined) {
      this.#byRule.set(hit.ruleId, [hit]);
    } else if (!known.some((other) => other.start < hit.end && hit.start < other.end && this.#plainer(other, hit))) {
      if (known.length < this.#max) known.push(hit);
      else this.#truncated = true;
    }
  }

  #plainer(a: Hit, b: Hit): boolean {
    return a.view !== b.view && this.#order.indexOf(a.view) < this.#order.indexOf(b.view);
  }

  result(): MatchResult {
    const hits = [...this.#byRule.values()].flat();
    hits.sort((a, b) => a.start - b.start || a.end - b.end || (a.ruleId < b.ruleId ? -1 : 1));
    return { hits, truncated: this.#truncated };
  }
}
