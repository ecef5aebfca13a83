import { UnitClass, unitClasses } from "../normalise/classes.ts";
import type { MappedText } from "../normalise/index.ts";
import { clean } from "./clean.ts";
import { findDomains, findUrls } from "./find.ts";
import { findHtml, findMarkdown } from "./markup.ts";
import type { Candidate, Link, LinkResult, LinkSettings } from "./schema.ts";

export type { Link, LinkResult, LinkSettings } from "./schema.ts";

/** Further back than this an opening bracket no longer holds text back. */
const maxOpenUnits = 512;

/**
 * Finds every link that a client might follow or load: URLs, bare domains, Markdown links and images, HTML attributes,
 * data URLs, and common disguises. Linear in the length of the text.
 */
export function extractLinks(visible: MappedText, original: string, settings: LinkSettings): LinkResult {
  const cleaned = clean(visible, original);
  const { text } = cleaned;
  const candidates = [
    ...findMarkdown(text),
    ...findHtml(text),
    ...findUrls(text),
    ...findDomains(text, new Set(settings.bareTopLevels)),
  ];
  const links = merge(candidates).map((candidate): Link => {
    const { scheme, host } = parseTarget(candidate.target);
    return {
      kind: candidate.kind,
      scheme,
      host,
      image: candidate.image,
      obfuscated: cleaned.rewritten(candidate.start, candidate.end),
      start: cleaned.startOf(candidate.start),
      end: cleaned.endOf(candidate.end),
    };
  });
  return { links, openFrom: openFrom(original, links) };
}

/** Overlapping candidates become one; the one that begins first, or else the longest, gives its kind. */
function merge(candidates: Candidate[]): Candidate[] {
  candidates.sort((a, b) => a.start - b.start || b.end - a.end);
  const merged: Candidate[] = [];
  for (const candidate of candidates) {
    const last = merged.at(-1);
    if (last === undefined || candidate.start >= last.end) merged.push({ ...candidate });
    else absorb(last, candidate);
  }
  return merged;
}

/** What was taken in may name the host that the outer construct does not (a URL in a label, or after odd escapes). */
function absorb(into: Candidate, other: Candidate): void {
  into.end = Math.max(into.end, other.end);
  into.image ||= other.image;
  const outer = parseTarget(into.target).host;
  const inner = parseTarget(other.target).host;
  if (outer === "" && into.kind === "url") into.target = other.target;
  // Two hosts in one construct: neither can vouch for the other.
  else if (inner !== "" && inner !== outer) into.target = "conflict:";
}

const special = new Set(["http", "https", "ws", "wss", "ftp"]);

/** Host as a browser would read it: backslashes, user info, ports, percent signs, decimal addresses, IDN. */
function parseTarget(target: string): { scheme: string; host: string } {
  const found = /^([a-z][a-z0-9+.-]{0,20}):/i.exec(target);
  const scheme = found !== null && !/^[^:]*:\d/.test(target) ? (found[1] as string).toLowerCase() : "";
  const rest = scheme === "" ? target : target.slice(scheme.length + 1);
  if (scheme !== "" && !special.has(scheme)) return { scheme, host: "" };
  const authority = rest.replace(/^[\\/]+/, "").split(/[\\/?#]/, 1)[0] as string;
  if (scheme === "" && !/^[\\/]{2}/.test(target) && !/^[^\\/?#]*\.[^\\/?#]/.test(target)) return { scheme, host: "" };
  try {
    return { scheme, host: new URL(`http://${authority}/`).hostname.toLowerCase().replace(/\.$/, "") };
  } catch {
    return { scheme, host: "" };
  }
}

/** Where the last word begins, or an earlier link, tag or bracket that reaches to the end and is not closed. */
function openFrom(text: string, links: readonly Link[]): number {
  const from = Math.max(0, text.length - maxOpenUnits);
  let open = text.length;
  while (open > from && isWordPart(text.charCodeAt(open - 1))) open--;
  const last = links.at(-1);
  if (last !== undefined && last.end >= open) open = Math.min(open, last.start);
  const bracket = text.lastIndexOf("[");
  const target = text.indexOf("](", bracket);
  const closed = target >= 0 ? text.indexOf(")", target) >= 0 : text.indexOf("]", bracket) >= 0;
  if (bracket >= from && !closed) open = Math.min(open, text[bracket - 1] === "!" ? bracket - 1 : bracket);
  const tag = text.lastIndexOf("<");
  if (tag >= from && /^<(?:[a-z/!]|$)/i.test(text.slice(tag, tag + 2)) && text.indexOf(">", tag) < 0)
    open = Math.min(open, tag);
  return open;
}

/** Neither white space nor a character of a script without spaces. */
function isWordPart(unit: number): boolean {
  const unitClass = unitClasses[unit];
  return unitClass !== UnitClass.space && unitClass !== UnitClass.unspaced;
}
