import type { Normalised, View } from "../normalise/index.ts";
import { compileFormats } from "./formats.ts";
import { HitSink } from "./hit-sink.ts";
import type { Occurrence } from "./proximity.ts";
import {
  type AllRule,
  type AnyRule,
  checkRuleFiles,
  type Derived,
  type Hit,
  type Rule,
  type RuleFile,
} from "./schema.ts";
import {
  combine,
  contextsNear,
  lazyNames,
  type Sighting,
  type SlotsOfList,
  sightTerms,
  slotsByList,
} from "./sightings.ts";
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
  /** text from here on may be a format (a credential) that is not complete yet; the text's length when there is none */
  openFrom: number;
}

export interface Matcher {
  match(text: Normalised): MatchResult;
  readonly termCount: number;
}

type Compiled = { rule: AnyRule; slotsOfList: undefined } | { rule: AllRule; slotsOfList: SlotsOfList };

interface Combination {
  list: number;
  slots: Derived;
  slotsOfList: SlotsOfList;
}

/** Checks and compiles rule files; throws TypeError naming every fault. */
export function compileMatcher(files: readonly RuleFile[], settings: MatcherSettings): Matcher {
  checkRuleFiles(files);
  const index = buildTermIndex(files, settings);
  const rules = files.flatMap((file) => file.rules ?? []).map((rule) => compileRule(rule, index));
  const combinations = files.flatMap((file) =>
    Object.entries(file.derived ?? {}).map(([name, slots]): Combination => {
      return { list: index.lists.indexOf(name), slots, slotsOfList: slotsByList(slots, index) };
    }),
  );
  const matchFormats = compileFormats(files.flatMap((file) => file.formats ?? []));
  return {
    termCount: index.termCount,
    match(text) {
      const sink = new HitSink(settings.maxHitsPerRule);
      const names = lazyNames(text.original);
      for (const view of text.views) matchView(view, index, combinations, rules, names, sink);
      const open = matchFormats(text.visible, (hit) => sink.add(hit));
      return { ...sink.result(), openFrom: open ?? text.original.length };
    },
  };
}

function compileRule(rule: Rule, index: TermIndex): Compiled {
  return "all" in rule ? { rule, slotsOfList: slotsByList(rule, index) } : { rule, slotsOfList: undefined };
}

function matchView(
  view: View,
  index: TermIndex,
  combinations: readonly Combination[],
  rules: readonly Compiled[],
  names: () => Occurrence[],
  sink: HitSink,
): void {
  const sighting: Sighting = { view, seen: sightTerms(view, index), names };
  for (const { list, slots, slotsOfList } of combinations) {
    const found = combine(slots, slotsOfList, sighting);
    if (found.length > 0) sighting.seen.set(list, found);
  }
  for (const { rule, slotsOfList } of rules) {
    if (rule.views !== undefined && !rule.views.includes(view.name)) continue;
    const spans =
      slotsOfList === undefined
        ? (rule as AnyRule).any.flatMap((name) => sighting.seen.get(index.lists.indexOf(name)) ?? [])
        : combine(rule as AllRule, slotsOfList, sighting);
    for (const span of spans) sink.add(toHit(rule, view, span, contextsNear(rule, index, sighting.seen, span)));
  }
}

function toHit(rule: Rule, view: View, span: Occurrence, contexts: string[]): Hit {
  const { id: ruleId, category, severity } = rule;
  return { ruleId, category, severity, start: span.start, end: span.end, view: view.name, contexts };
}
