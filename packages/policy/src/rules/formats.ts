import type { MappedText } from "../normalise/index.ts";
import { toText } from "../normalise/index.ts";
import type { Format, FormatPart, Hit } from "./schema.ts";

const wordUnit = /[A-Za-z0-9_]/;

/**
 * Adds every hit; returns where (in the original text) the first format begins that more text could complete or extend,
 * or undefined.
 */
export type MatchFormats = (visible: MappedText, add: (hit: Hit) => void) => number | undefined;

/**
 * Matches formats without backtracking. A maximal run of a class is measured once and remembered, so overlapping
 * attempts share it: linear in the text for each format.
 */
export function compileFormats(formats: readonly Format[]): MatchFormats {
  const compiled = formats.map((format) => ({ format, parts: format.parts.map(compilePart) }));
  return (visible, add) => {
    if (compiled.length === 0 || visible.length === 0) return undefined;
    const text = toText(visible);
    let open = text.length;
    for (const { format, parts } of compiled) {
      const literal = (format.parts[0] as { literal: string }).literal;
      const runs: RunCache = new Map();
      let from = 0;
      for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, from)) {
        const found = standsAlone(text, at, literal) ? matchParts(text, at, parts, runs) : noMatch;
        from = found.end > 0 ? found.end : at + 1;
        if (found.end > 0) add(toHit(format, visible, at, found.end));
        if (found.open) open = Math.min(open, at);
      }
      open = Math.min(open, beginningAtEnd(text, literal));
    }
    return open < text.length ? visible.starts[open] : undefined;
  };
}

/** Where the text ends with the beginning of the literal: it may have words, so its last one does not show it. */
function beginningAtEnd(text: string, literal: string): number {
  for (let length = Math.min(literal.length - 1, text.length); length > 0; length--) {
    const at = text.length - length;
    if (literal.startsWith(text.slice(at)) && standsAlone(text, at, literal)) return at;
  }
  return text.length;
}

type CompiledPart = FormatPart & { inClass?: Uint8Array };
/** part → what was last measured: any attempt from start to limit ends at the same place */
type RunCache = Map<CompiledPart, { start: number; limit: number; end: number }>;

function compilePart(part: FormatPart): CompiledPart {
  if (!("class" in part)) return part;
  const pattern = new RegExp(`^[${part.class}]$`);
  const inClass = new Uint8Array(128);
  for (let unit = 0; unit < 128; unit++) inClass[unit] = pattern.test(String.fromCharCode(unit)) ? 1 : 0;
  return { ...part, inClass };
}

/** A format never begins in the middle of a word, unless it begins with punctuation. */
function standsAlone(text: string, at: number, literal: string): boolean {
  return at === 0 || !wordUnit.test(literal[0] as string) || !wordUnit.test(text[at - 1] as string);
}

/** `end` is -1 without a match. `open`: more text could make it one, or make it longer. */
interface Attempt {
  end: number;
  open: boolean;
}

const noMatch: Attempt = { end: -1, open: false };

function matchParts(text: string, start: number, parts: readonly CompiledPart[], runs: RunCache): Attempt {
  let at = start;
  let open = false;
  for (const part of parts) {
    if ("literal" in part) {
      if (!text.startsWith(part.literal, at)) return { end: -1, open: part.literal.startsWith(text.slice(at)) };
      at += part.literal.length;
    } else if ("until" in part) {
      at = untilEnd(text, at, part, runs);
      open = at === text.length && !text.endsWith(part.until);
    } else {
      const end = classEnd(text, at, part, runs);
      if (end - at > part.max) return noMatch;
      open = end === text.length;
      if (end - at < part.min) return { end: -1, open };
      at = end;
    }
  }
  return { end: at, open };
}

function classEnd(text: string, at: number, part: CompiledPart, runs: RunCache): number {
  const known = runs.get(part);
  if (known !== undefined && at >= known.start && at <= known.limit) return known.end;
  let end = at;
  while (end < text.length && part.inClass?.[text.charCodeAt(end)] === 1) end++;
  runs.set(part, { start: at, limit: end, end });
  return end;
}

function untilEnd(text: string, at: number, part: CompiledPart & { until: string }, runs: RunCache): number {
  const known = runs.get(part);
  if (known !== undefined && at >= known.start && at <= known.limit) return known.end;
  const found = text.indexOf(part.until, at);
  const end = found < 0 ? text.length : found + part.until.length;
  runs.set(part, { start: at, limit: found < 0 ? end : found, end });
  return end;
}

function toHit(format: Format, visible: MappedText, start: number, end: number): Hit {
  return {
    ruleId: format.id,
    category: format.category,
    severity: format.severity,
    start: visible.starts[start] as number,
    end: visible.ends[end - 1] as number,
    view: "visible",
    contexts: [],
  };
}
