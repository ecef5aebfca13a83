import { isWord, UnitClass, unitClasses } from "./classes.ts";
import { confusableOf } from "./confusables.ts";
import leet from "./data/leet.json" with { type: "json" };
import { type MappedText, MappedTextBuilder } from "./mapped-text.ts";

const leetAnywhere = unitTable(leet.anywhere);
const leetInside = unitTable(leet.inside);
const leetLetters = unitTable(leet.letters);

function unitTable(entries: Record<string, string>): Uint16Array {
  const table = new Uint16Array(0x10000);
  for (const [from, to] of Object.entries(entries)) table[from.charCodeAt(0)] = to.charCodeAt(0);
  return table;
}

/** Replaces look-alike letters by the ASCII letters they imitate (UTS #39 skeleton, ASCII part only). */
export function skeleton(base: MappedText): { text: MappedText; changed: boolean } {
  if (isAscii(base)) return { text: base, changed: false };
  let changed = false;
  const out = new MappedTextBuilder(base.length);
  for (let i = 0; i < base.length; i++) {
    const unit = base.units[i] as number;
    const start = base.starts[i] as number;
    if (unit < 0x80) {
      out.push(unit, start, base.ends[i] as number);
      continue;
    }
    const low = base.units[i + 1];
    const pair =
      unit >= 0xd800 && unit <= 0xdbff && i + 1 < base.length && low !== undefined && low >= 0xdc00 && low <= 0xdfff;
    const point = pair ? (unit - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000 : unit;
    const end = base.ends[pair ? i + 1 : i] as number;
    const target = confusableOf.get(point);
    if (target !== undefined) {
      changed = true;
      out.pushText(target, start, end);
    } else {
      out.push(unit, start, base.ends[i] as number);
      if (pair) out.push(low, base.starts[i + 1] as number, end);
    }
    if (pair) i++;
  }
  return changed ? { text: out, changed } : { text: base, changed };
}

function isAscii({ units, length }: MappedText): boolean {
  for (let i = 0; i < length; i++) if ((units[i] as number) >= 0x80) return false;
  return true;
}

/**
 * Letters and digits only, everything between them dropped, and every digit that can stand for a letter taken for one:
 * for long patterns, which mean something even so.
 */
export function squash(text: MappedText): MappedText {
  const out = new MappedTextBuilder(text.length);
  for (let i = 0; i < text.length; i++) {
    const mapped = leetUnit(text, i, text.length);
    if (!isWord(unitClasses[mapped] as number)) continue;
    out.push(leetLetters[mapped] || mapped, text.starts[i] as number, text.ends[i] as number);
  }
  return out;
}

/**
 * Replaces digits and symbols that stand for letters. A run (no white space) is touched only when it holds a letter,
 * so plain numbers stay numbers; `always` drops that condition. Folds l to i, since 1, !, | and I stand for either.
 */
export function deleet(text: MappedText, always = false): { text: MappedText; changed: boolean } {
  const out = new MappedTextBuilder(text.length);
  let changed = false;
  for (let start = 0; start < text.length; ) {
    const end = runEnd(text, start);
    const active = always || hasLetter(text, start, end);
    for (let i = start; i < end; i++) {
      const unit = text.units[i] as number;
      const mapped = active ? leetUnit(text, i, end) : unit;
      if (mapped !== unit) changed = true;
      out.push(leetLetters[mapped] || mapped, text.starts[i] as number, text.ends[i] as number);
    }
    start = end;
  }
  return { text: out, changed };
}

function leetUnit(text: MappedText, at: number, end: number): number {
  const unit = text.units[at] as number;
  const anywhere = leetAnywhere[unit] as number;
  if (anywhere !== 0) return anywhere;
  const inside = leetInside[unit] as number;
  // At the end of a run these are punctuation ("stop!"), elsewhere they imitate a letter ("k!ll").
  if (inside !== 0 && at + 1 < end && isLetterLike(text.units[at + 1] as number)) return inside;
  return unit;
}

function isLetterLike(unit: number): boolean {
  return unitClasses[unit] === UnitClass.letter || leetAnywhere[unit] !== 0 || leetInside[unit] !== 0;
}

/** A run is white space, or everything up to the next white space. */
function runEnd(text: MappedText, start: number): number {
  const space = unitClasses[text.units[start] as number] === UnitClass.space;
  let end = start + 1;
  while (end < text.length && (unitClasses[text.units[end] as number] === UnitClass.space) === space) end++;
  return end;
}

function hasLetter(text: MappedText, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (unitClasses[text.units[i] as number] === UnitClass.letter) return true;
  }
  return false;
}
