import type { TextTrust } from "../engine/types.ts";
import type { TextPart } from "./judge.ts";

const separator = "\n\n";

interface Span {
  start: number;
  end: number;
}

/** Parts as one text, with the way back to each part. */
export interface JoinedParts {
  text: string;
  /** reaches into text that was not judged before */
  isNew(span: Span): boolean;
  trustOf(span: Span): TextTrust;
  /** the span within each part that it touches, without what was judged before */
  locate(span: Span): { part: number; start: number; end: number }[];
  baseOf(part: number): number;
}

export function joinParts(parts: readonly TextPart[]): JoinedParts {
  const bases: number[] = [];
  let length = 0;
  for (const part of parts) {
    bases.push(length);
    length += part.text.length + separator.length;
  }
  const touched = (span: Span): number[] => {
    // Parts are in order: the last one that begins at or before the span, and those after it.
    let index = lastAtOrBefore(bases, span.start);
    const found: number[] = [];
    for (; index < parts.length && (bases[index] as number) < span.end; index++) found.push(index);
    return found;
  };
  const clip = (span: Span, part: number): Span => {
    const { text, reviewFrom = 0 } = parts[part] as TextPart;
    const base = bases[part] as number;
    return { start: Math.max(span.start - base, reviewFrom, 0), end: Math.min(span.end - base, text.length) };
  };
  const locate = (span: Span): { part: number; start: number; end: number }[] =>
    touched(span)
      .map((part) => ({ part, ...clip(span, part) }))
      .filter(({ start, end }) => end > start);
  return {
    text: parts.map((part) => part.text).join(separator),
    locate,
    isNew: (span) => locate(span).length > 0,
    trustOf: (span) => {
      const trusts = touched(span).map((part) => (parts[part] as TextPart).trust);
      return trusts.includes("untrusted") ? "untrusted" : (trusts[0] ?? "untrusted");
    },
    baseOf: (part) => bases[part] as number,
  };
}

function lastAtOrBefore(bases: readonly number[], at: number): number {
  let low = 0;
  let high = bases.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((bases[middle] as number) <= at) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
