import { type ViewName, viewNames } from "../normalise/index.ts";

/**
 * A rule file: term lists and what to make of them. Lists of one name are united over all files, so a file can add
 * another language to rules written elsewhere. Terms are words or phrases; `*` at an end means "any continuation".
 */
export interface RuleFile {
  id: string;
  languages: string[];
  note?: string;
  lists?: Record<string, string[]>;
  /** lists whose items are combinations of other lists, such as a verb and its object; usable like any list */
  derived?: Record<string, Derived>;
  rules?: Rule[];
  formats?: Format[];
}

export interface Derived {
  all: string[][];
  within: number;
  /** slots must come in this order */
  ordered?: boolean;
}

interface RuleBase {
  id: string;
  category: string;
  /** 0 to 1: how sure a hit makes us; policy compares it with its thresholds */
  severity: number;
  /** views to match on; all when absent */
  views?: ViewName[];
  /** lists whose presence nearby is reported with the hit (law, medicine, reporting, …) */
  contexts?: string[];
  /** how near, in words; the whole text when absent */
  contextWithin?: number;
}

/** Any term of any of the lists. */
export interface AnyRule extends RuleBase {
  any: string[];
}

/** One term of each slot (a slot is a set of lists), all within so many words. `@name` is a list found by code. */
export interface AllRule extends RuleBase {
  all: string[][];
  within: number;
}

export type Rule = AnyRule | AllRule;

/** A credential or other fixed format: parts in sequence, matched without backtracking on the visible text. */
export interface Format {
  id: string;
  category: string;
  severity: number;
  parts: FormatPart[];
}

export type FormatPart =
  | { literal: string }
  /** a run of characters of the class (as inside brackets of a regular expression), this many of them */
  | { class: string; min: number; max: number }
  /** everything up to and including the literal; to the end of the text when it does not come */
  | { until: string };

/** Where a rule matched, in UTF-16 offsets of the original text. */
export interface Hit {
  ruleId: string;
  category: string;
  severity: number;
  start: number;
  end: number;
  view: ViewName | "visible";
  contexts: string[];
}

/** List of two or more capitalised words in a row, found in the original text. */
export const properNameList = "@name";

/** Throws with every fault in the files; rules with faults are never half used. */
export function checkRuleFiles(files: readonly RuleFile[]): void {
  const lists = new Set<string>([properNameList]);
  for (const file of files) for (const name of Object.keys(file.lists ?? {})) lists.add(name);
  const faults: string[] = [];
  for (const file of files) {
    for (const [name, derived] of Object.entries(file.derived ?? {})) {
      // Checked against what stands before it, so that derivations cannot go in a circle.
      checkSlots(name, derived, lists, faults);
      lists.add(name);
    }
  }
  const ids = new Set<string>();
  for (const file of files) {
    for (const rule of file.rules ?? []) checkRule(rule, lists, ids, faults);
    for (const format of file.formats ?? []) checkFormat(format, ids, faults);
    for (const [name, terms] of Object.entries(file.lists ?? {})) {
      if (
        !Array.isArray(terms) ||
        terms.some((term) => typeof term !== "string" || term.replaceAll("*", "").trim() === "")
      ) {
        faults.push(`list ${name} in ${file.id}: every term must be a non-empty string`);
      }
    }
  }
  if (faults.length > 0) throw new TypeError(`rule files: ${faults.join("; ")}`);
}

function checkRule(rule: Rule, lists: Set<string>, ids: Set<string>, faults: string[]): void {
  checkCommon(rule, ids, faults);
  const used = "all" in rule ? [] : rule.any;
  if (!("all" in rule) && !(rule.any?.length > 0)) faults.push(`${rule.id}: names no lists`);
  for (const list of [...(used ?? []), ...(rule.contexts ?? [])]) {
    if (!lists.has(list)) faults.push(`${rule.id}: unknown list ${list}`);
  }
  for (const view of rule.views ?? []) {
    if (!viewNames.includes(view)) faults.push(`${rule.id}: unknown view ${view}`);
  }
  if ("all" in rule) checkSlots(rule.id, rule, lists, faults);
}

function checkSlots(
  id: string,
  slots: { all: string[][]; within: number },
  lists: Set<string>,
  faults: string[],
): void {
  if (slots.all.length < 2 || slots.all.length > 6) faults.push(`${id}: needs two to six slots`);
  if (!Number.isInteger(slots.within) || slots.within < 1) faults.push(`${id}: within must be a positive integer`);
  for (const list of slots.all.flat()) if (!lists.has(list)) faults.push(`${id}: unknown list ${list}`);
}

function checkFormat(format: Format, ids: Set<string>, faults: string[]): void {
  checkCommon(format, ids, faults);
  const [first] = format.parts;
  if (first === undefined || !("literal" in first) || first.literal === "") {
    faults.push(`${format.id}: must begin with a literal`);
  }
  format.parts.forEach((part, index) => {
    if (!("class" in part)) return;
    const next = format.parts[index + 1];
    if (next !== undefined && "class" in next) faults.push(`${format.id}: two classes in a row`);
    if (next !== undefined && "literal" in next && new RegExp(`^[${part.class}]`).test(next.literal)) {
      faults.push(`${format.id}: the literal after a class must not begin with a character of that class`);
    }
    if (!(part.min >= 0 && part.max >= part.min)) faults.push(`${format.id}: bad length`);
  });
}

function checkCommon(
  rule: { id: string; category: string; severity: number },
  ids: Set<string>,
  faults: string[],
): void {
  if (ids.has(rule.id)) faults.push(`${rule.id}: id used twice`);
  ids.add(rule.id);
  if (!rule.category) faults.push(`${rule.id}: no category`);
  if (!(rule.severity > 0 && rule.severity <= 1)) faults.push(`${rule.id}: severity must be above 0 and at most 1`);
}
