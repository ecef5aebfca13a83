import { isWord, UnitClass, unitClasses } from "./classes.ts";
import { type MappedText, MappedTextBuilder } from "./mapped-text.ts";

const apostrophes = new Set([0x27, 0x60, 0xb4, 0x2bc, 0x2018, 0x2019]);

/**
 * Words apart by exactly one space, with one space before the first and after the last: a space in a pattern is then a
 * word boundary. Apostrophes inside words vanish. A change between spaced and unspaced scripts is a boundary.
 */
export function words(text: MappedText): MappedText {
  const out = new MappedTextBuilder(text.length + 2);
  let last: number = UnitClass.separator;
  for (let i = 0; i < text.length; i++) {
    const unit = text.units[i] as number;
    const unitClass = unitClasses[unit] as number;
    if (!isWord(unitClass)) {
      if (!(apostrophes.has(unit) && last === UnitClass.letter)) last = UnitClass.separator;
      continue;
    }
    if (!isWord(last) || (last === UnitClass.unspaced) !== (unitClass === UnitClass.unspaced)) {
      out.pushGap(text.starts[i] as number);
    }
    out.push(unit, text.starts[i] as number, text.ends[i] as number);
    last = unitClass;
  }
  out.pushGap(Number.MAX_SAFE_INTEGER);
  return out;
}
