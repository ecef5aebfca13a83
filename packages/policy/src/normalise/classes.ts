/** What a UTF-16 code unit is to the matcher. */
export const UnitClass = { separator: 0, space: 1, letter: 2, digit: 3, unspaced: 4 } as const;

/** Scripts written without spaces: each of their characters counts as a word. */
const unspacedPattern =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * Class of every UTF-16 code unit. Surrogates count as letters: the base fold has already replaced every character
 * outside the basic plane that is neither letter nor number.
 */
export const unitClasses: Uint8Array = buildUnitClasses();

function buildUnitClasses(): Uint8Array {
  const table = new Uint8Array(0x10000);
  for (let unit = 0; unit < table.length; unit++) table[unit] = classify(unit);
  return table;
}

function classify(unit: number): number {
  if (unit >= 0xd800 && unit <= 0xdfff) return UnitClass.letter;
  const char = String.fromCharCode(unit);
  if (/\s/u.test(char) || unit === 0x85) return UnitClass.space;
  if (unspacedPattern.test(char) || unit === 0x3099 || unit === 0x309a) return UnitClass.unspaced;
  if (/\p{N}/u.test(char)) return UnitClass.digit;
  if (/[\p{L}\p{Mc}]/u.test(char)) return UnitClass.letter;
  return UnitClass.separator;
}

export function isWord(unitClass: number): boolean {
  return unitClass >= UnitClass.letter;
}
