import { confusableOf } from "./confusables.ts";
import { type MappedText, MappedTextBuilder } from "./mapped-text.ts";

/** Counts of what the fold took away or unmasked; policy may weigh them. */
export interface FoldFacts {
  /** zero-width, soft hyphen, variation selector, control and other default-ignorable characters */
  invisible: number;
  /** bidirectional embedding, override and isolate controls */
  bidi: number;
  /** Unicode tag characters (U+E0020 to U+E007E), which carry hidden ASCII */
  tags: number;
  /** combining marks */
  marks: number;
}

export interface Folded {
  /** NFKC with invisible characters removed and case kept: for links and credential formats. */
  visible: MappedText;
  /** Compatibility-decomposed, without marks and invisible characters, lower case. */
  base: MappedText;
  /** What tag characters spell, as ASCII. */
  tags: MappedText;
  facts: FoldFacts;
}

const invisiblePattern = /[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]/u;
const keptControls = /[\t\n\v\f\r\u0085]/u;
const bidiPattern = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;
const markPattern = /[\p{Mn}\p{Me}]/gu;
const letterOrNumber = /[\p{L}\p{N}]/u;
/** Kana voicing marks carry meaning, so they stay. */
const voicingMarks = /[\u3099\u309a]/u;
/** Stands for a symbol outside the basic plane: a separator for every later step. */
const symbolPlaceholder = "\ufffc";
const maxFixpointSteps = 4;
const cacheLimit = 65_536;
/** A character that stands for a whole phrase disguises nothing, and would let a text grow many times over. */
const maxExpansion = 8;

interface Entry {
  visible: string;
  base: string;
  kind: "text" | "invisible" | "bidi" | "tag" | "mark";
}

/**
 * Folds each code point by itself, without context: the result is idempotent, linear, and every unit maps back to
 * one code point of the original. (UAX #15 compatibility decomposition without recomposition.)
 */
export function fold(text: string): Folded {
  const visible = new MappedTextBuilder(text.length);
  const base = new MappedTextBuilder(text.length);
  const tags = new MappedTextBuilder(0);
  const facts: FoldFacts = { invisible: 0, bidi: 0, tags: 0, marks: 0 };
  for (let i = 0; i < text.length; ) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x20 && unit < 0x7f) {
      visible.push(unit, i, i + 1);
      base.push(unit >= 0x41 && unit <= 0x5a ? unit + 0x20 : unit, i, i + 1);
      i++;
      continue;
    }
    const point = text.codePointAt(i) as number;
    const end = i + (point > 0xffff ? 2 : 1);
    const entry = lookUp(point);
    if (entry.kind === "tag") tags.push(point - 0xe0000, i, end);
    count(facts, entry.kind);
    append(visible, entry.visible, i, end);
    append(base, entry.base, i, end);
    i = end;
  }
  return { visible, base, tags, facts };
}

function append(to: MappedTextBuilder, text: string, start: number, end: number): void {
  if (text === "") to.extendLast(end);
  else to.pushText(text, start, end);
}

function count(facts: FoldFacts, kind: Entry["kind"]): void {
  if (kind === "text") return;
  if (kind === "mark") facts.marks++;
  else if (kind === "tag") facts.tags++;
  else if (kind === "bidi") facts.bidi++;
  else facts.invisible++;
}

const cache = new Map<number, Entry>();

function lookUp(point: number): Entry {
  const known = cache.get(point);
  if (known !== undefined) return known;
  const entry = describe(point);
  if (cache.size < cacheLimit) cache.set(point, entry);
  return entry;
}

function describe(point: number): Entry {
  const char = String.fromCodePoint(point);
  if (point >= 0xe0020 && point <= 0xe007e) return { visible: "", base: "", kind: "tag" };
  if (bidiPattern.test(char)) return { visible: "", base: "", kind: "bidi" };
  if (invisiblePattern.test(char) && !keptControls.test(char)) return { visible: "", base: "", kind: "invisible" };
  if (/^[\p{Mn}\p{Me}]$/u.test(char) && !voicingMarks.test(char)) return { visible: char, base: "", kind: "mark" };
  if (char.normalize("NFKD").length > maxExpansion) {
    return { visible: symbolPlaceholder, base: symbolPlaceholder, kind: "text" };
  }
  const visible = char.normalize("NFKC").replace(/[\p{Cf}\p{Cc}]/gu, (c) => (keptControls.test(c) ? c : ""));
  return { visible, base: foldPoint(char), kind: "text" };
}

/** Lower-casing can bring new decompositions, so the steps repeat until nothing changes. */
function foldPoint(char: string): string {
  let text = char;
  for (let step = 0; step < maxFixpointSteps; step++) {
    const next = foldOnce(text);
    if (next === text) break;
    text = next;
  }
  return Array.from(text, (c) => (isStraySymbol(c) ? symbolPlaceholder : c)).join("");
}

function isStraySymbol(char: string): boolean {
  const point = char.codePointAt(0) as number;
  return point > 0xffff && !letterOrNumber.test(char) && !confusableOf.has(point);
}

function foldOnce(text: string): string {
  const stripped = text.normalize("NFKD").replace(markPattern, (c) => (voicingMarks.test(c) ? c : ""));
  const visible = Array.from(stripped, (c) => (invisiblePattern.test(c) && !keptControls.test(c) ? "" : c)).join("");
  return visible.toLowerCase().replaceAll("ς", "σ");
}
