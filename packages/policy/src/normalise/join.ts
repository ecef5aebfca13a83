import { isWord, UnitClass, unitClasses } from "./classes.ts";
import leet from "./data/leet.json" with { type: "json" };
import { type MappedText, MappedTextBuilder } from "./mapped-text.ts";

/** Letters apart by more separators than this are taken for two words. */
const maxInnerSeparators = 3;
/** Fewer single letters in a row than this are taken for ordinary text ("plan B", "I a"). */
const minSpacedRun = 3;

const keptUnits = new Uint8Array(0x10000);
for (let unit = 0; unit < keptUnits.length; unit++) keptUnits[unit] = isWord(unitClasses[unit] as number) ? 1 : 0;
for (const symbol of Object.keys(leet.anywhere)) keptUnits[symbol.charCodeAt(0)] = 1;

/** Joined text and what changed. `spaced` holds only the spelled-out runs, with their inner word borders unknown. */
export interface Joined {
  joined: MappedText;
  spaced: MappedText;
  changed: boolean;
}

interface Token {
  start: number;
  end: number;
  /** letters, digits and look-alike symbols */
  kept: number;
  /** no two of them side by side */
  apart: boolean;
  /** white-space units before it */
  gap: number;
}

/** Removes separators inside words ("w.o-r_d") and closes words spelled letter by letter ("w o r d"). */
export function join(text: MappedText): Joined {
  const joined = new MappedTextBuilder(text.length);
  const spaced = new MappedTextBuilder(0);
  let changed = false;
  const run: Token[] = [];
  let inRun = 0;
  const flush = (): void => {
    if (run.length > 1 && inRun >= minSpacedRun) {
      changed = true;
      pushRun(text, run, joined, spaced);
    } else {
      for (const token of run) changed = pushToken(text, token, joined) || changed;
    }
    run.length = 0;
    inRun = 0;
  };
  let carriedGap = 0;
  for (const token of tokens(text)) {
    token.gap += carriedGap;
    carriedGap = token.kept === 0 ? token.gap : 0;
    if (token.kept === 0) continue;
    if (token.apart) {
      run.push(token);
      inRun += token.kept;
      continue;
    }
    flush();
    if (pushToken(text, token, joined)) changed = true;
  }
  flush();
  return { joined, spaced, changed };
}

function* tokens(text: MappedText): Generator<Token> {
  for (let i = 0; i < text.length; ) {
    let gap = 0;
    while (i < text.length && unitClasses[text.units[i] as number] === UnitClass.space) {
      gap++;
      i++;
    }
    const start = i;
    let kept = 0;
    let apart = true;
    for (let previous = 0; i < text.length && unitClasses[text.units[i] as number] !== UnitClass.space; i++) {
      const keep = keptUnits[text.units[i] as number] as number;
      if (keep === 1 && previous === 1) apart = false;
      kept += keep;
      previous = keep;
    }
    if (i > start) yield { start, end: i, kept, apart, gap };
  }
}

/** Returns whether separators inside the token were dropped. */
function pushToken(text: MappedText, token: Token, out: MappedTextBuilder): boolean {
  let dropped = false;
  let separators = 0;
  let any = false;
  out.pushGap(text.starts[token.start] as number);
  for (let i = token.start; i < token.end; i++) {
    if (keptUnits[text.units[i] as number] === 0) {
      separators++;
      continue;
    }
    if (any && separators > 0) {
      if (separators > maxInnerSeparators) out.pushGap(text.starts[i] as number);
      else dropped = true;
    }
    separators = 0;
    any = true;
    out.push(text.units[i] as number, text.starts[i] as number, text.ends[i] as number);
  }
  return dropped;
}

/** The narrowest gap parts letters; any wider one parts words. */
function pushRun(text: MappedText, run: Token[], joined: MappedTextBuilder, spaced: MappedTextBuilder): void {
  let narrowest = Number.POSITIVE_INFINITY;
  for (const token of run.slice(1)) narrowest = Math.min(narrowest, token.gap);
  const first = run[0] as Token;
  spaced.pushGap(text.starts[first.start] as number);
  for (const token of run) {
    if (token === first || token.gap > narrowest) joined.pushGap(text.starts[token.start] as number);
    for (let i = token.start; i < token.end; i++) {
      if (keptUnits[text.units[i] as number] === 0) continue;
      joined.push(text.units[i] as number, text.starts[i] as number, text.ends[i] as number);
      spaced.push(text.units[i] as number, text.starts[i] as number, text.ends[i] as number);
    }
  }
}
