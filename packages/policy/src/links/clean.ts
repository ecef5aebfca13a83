import { type MappedText, toText } from "../normalise/index.ts";

/** Text in which common disguises of links are undone, with a map back. */
export interface CleanText {
  text: string;
  /** offset in the cleaned text → span in the original */
  startOf(at: number): number;
  endOf(at: number): number;
  /** whether any character of the span was rewritten */
  rewritten(start: number, end: number): boolean;
}

// Every quantifier is bounded, so each attempt is.
const disguises =
  /[ \t]?[[({][ \t]?(?:\.|dot|d0t|punkt|punto)[ \t]?[\])}][ \t]?|\[:\/{0,2}\]|\bh[tx*]{2}p(s?)(?=:|\[:)|\b(?:hxxp|htxp|hxtp)(s?)(?=:|\[:)/gi;

export function clean(visible: MappedText, original: string): CleanText {
  const text = toText(visible);
  const pieces: string[] = [];
  const spans: Rewrite[] = [];
  let length = 0;
  let last = 0;
  const plain = (until: number): void => {
    if (until > last) {
      pieces.push(text.slice(last, until));
      length += until - last;
    }
  };
  for (const match of text.matchAll(disguises)) {
    const replacement = undisguise(match[0]);
    if (replacement === match[0].toLowerCase()) continue;
    plain(match.index);
    spans.push({
      at: length,
      end: length + replacement.length,
      start: match.index,
      stop: match.index + match[0].length,
    });
    pieces.push(replacement);
    length += replacement.length;
    last = match.index + match[0].length;
  }
  plain(text.length);
  const source = sourceMap(spans, text.length);
  return {
    text: pieces.join(""),
    startOf: (at) => visible.starts[source(at).start] ?? original.length,
    endOf: (at) => (at <= 0 ? 0 : (visible.ends[source(at - 1).stop - 1] ?? original.length)),
    rewritten: (start, end) => {
      const next = spans[firstAfter(spans, start)];
      if (next !== undefined && next.at < end) return true;
      return hasInvisible(visible, source(start).start, source(Math.max(start, end - 1)).stop);
    },
  };
}

function undisguise(found: string): string {
  const lower = found.toLowerCase();
  if (lower.startsWith("h")) return lower.endsWith("s") ? "https" : "http";
  if (lower.includes(":")) return lower.slice(1, -1);
  return ".";
}

interface Rewrite {
  /** span in the cleaned text */
  at: number;
  end: number;
  /** span in the visible text */
  start: number;
  stop: number;
}

function sourceMap(spans: readonly Rewrite[], length: number): (at: number) => { start: number; stop: number } {
  return (at) => {
    const index = firstAfter(spans, at);
    const inside = spans[index];
    if (inside !== undefined && inside.at <= at) return { start: inside.start, stop: inside.stop };
    const before = spans[index - 1];
    const start = before === undefined ? at : Math.min(length, at - before.end + before.stop);
    return { start, stop: start + 1 };
  };
}

/** Index of the first rewrite that ends after the offset. */
function firstAfter(spans: readonly Rewrite[], at: number): number {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((spans[middle] as Rewrite).end > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Something was dropped or replaced between these units: the original is longer than what is seen. */
function hasInvisible(visible: MappedText, start: number, stop: number): boolean {
  if (stop <= start || start >= visible.length) return false;
  const end = Math.min(stop, visible.length);
  return (visible.ends[end - 1] as number) - (visible.starts[start] as number) > end - start;
}
