/** A span of the original text, UTF-16 offsets, end exclusive. */
export interface Span {
  start: number;
  end: number;
}

const minWordLength = 2;

/**
 * Pairs of capitalised words ("Given Family"), in one pass; of a longer run its first and its last two, since the run
 * may begin with an ordinary word of a sentence or a title. Scripts without case yield none.
 */
export function findProperNames(text: string): Span[] {
  const names: Span[] = [];
  let run: Span[] = [];
  const close = (): void => {
    if (run.length >= 2) names.push({ start: (run[0] as Span).start, end: (run[1] as Span).end });
    if (run.length >= 3) names.push({ start: (run.at(-2) as Span).start, end: (run.at(-1) as Span).end });
    run = [];
  };
  const word = /[\p{L}\p{M}'’-]+/gu;
  let lastEnd = 0;
  for (let match = word.exec(text); match !== null; match = word.exec(text)) {
    const start = match.index;
    const end = start + match[0].length;
    if (run.length > 0 && !/^[ \t]$/.test(text.slice(lastEnd, Math.min(start, lastEnd + 2)))) close();
    lastEnd = end;
    if (!isCapitalised(match[0])) {
      close();
      continue;
    }
    run.push({ start, end });
  }
  close();
  return names;
}

function isCapitalised(word: string): boolean {
  if (word.length < minWordLength) return false;
  return /^\p{Lu}\p{M}*\p{Ll}/u.test(word);
}
