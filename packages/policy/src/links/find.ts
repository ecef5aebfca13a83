import type { Candidate } from "./schema.ts";

// Bounded quantifiers only: each attempt is bounded, the search is linear.
const urlStart =
  /[a-z][a-z0-9+.-]{1,20}:[\\/]{1,6}(?=[^\s\\/])|\b(?:data|javascript|vbscript|mailto|tel|sms|blob|file|intent):(?=\S)|(?<![:\\/a-z0-9])[\\/]{2}(?=[a-z0-9[])|\bwww\d{0,2}\.(?=[^\s.])/gi;
const terminators = new Set(' \t\n\r\v\f\u0085\u00a0\u2028\u2029\u3000<>"`|^{}。、，」』）】»“”');
const trailingPunctuation = new Set(".,;:!?'’*_~");

const maxLookAhead = 280;

/** Anything that begins like a URL, to where it ends as text. */
export function findUrls(text: string): Candidate[] {
  const found: Candidate[] = [];
  urlStart.lastIndex = 0;
  for (let match = urlStart.exec(text); match !== null; match = urlStart.exec(text)) {
    const start = match.index;
    // Decided on a bounded piece, so that look-alikes cost no walk to the end of a long run.
    if (!isPlausible(text.slice(start, start + maxLookAhead))) continue;
    const end = urlEnd(text, start, start + match[0].length);
    found.push({ kind: "url", target: text.slice(start, end), image: false, start, end });
    urlStart.lastIndex = Math.max(end, start + 1);
  }
  return found;
}

/** Ends before white space, quotes or a closing bracket that was not opened inside; sheds trailing punctuation. */
export function urlEnd(text: string, start: number, from: number): number {
  let round = 0;
  let square = 0;
  let end = from;
  for (; end < text.length; end++) {
    const char = text[end] as string;
    if (terminators.has(char)) break;
    if (char === "(") round++;
    else if (char === ")" && --round < 0) break;
    else if (char === "[") square++;
    else if (char === "]" && --square < 0) break;
  }
  while (end > from && trailingPunctuation.has(text[end - 1] as string)) end--;
  return Math.max(end, start);
}

function isPlausible(piece: string): boolean {
  const run = (/^\S+/.exec(piece)?.[0] ?? "").toLowerCase();
  if (run.startsWith("data:")) return /^data:[a-z0-9+.-]*[/;,]/.test(run) && run.includes(",");
  if (run.startsWith("mailto:")) return run.includes("@");
  if (run.startsWith("tel:") || run.startsWith("sms:")) return /\d/.test(run);
  if (/^[\\/]{2}/.test(run)) return /^[\\/]{2}[^\\/?#]*\.[a-z0-9]/.test(run);
  return true;
}

const nameRun = /[\p{L}\p{N}][\p{L}\p{N}.-]*/gu;
const topLevel = /^(?:\p{L}{2,24}|xn--[a-z0-9-]{1,59})$/iu;
const address = /^(?:\d{1,3}\.){3}\d{1,3}$/;

/** Names with dots that a client may turn into a link. */
export function findDomains(text: string, bareTopLevels: ReadonlySet<string>): Candidate[] {
  const found: Candidate[] = [];
  nameRun.lastIndex = 0;
  for (let match = nameRun.exec(text); match !== null; match = nameRun.exec(text)) {
    const name = match[0].replace(/[.-]{1,8}$/, "");
    const start = match.index;
    if (!name.includes(".") || name.includes("..") || name.length > 253) continue;
    if (start > 0 && /[\\/@=&%]/.test(text[start - 1] as string)) continue;
    const last = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
    const next = text[start + name.length] ?? "";
    const hasPath = next === "/" || next === "?" || (next === ":" && /\d/.test(text[start + name.length + 1] ?? ""));
    const known = address.test(name) ? hasPath : topLevel.test(last) && (hasPath || bareTopLevels.has(last));
    if (!known) continue;
    const end = hasPath ? urlEnd(text, start, start + name.length) : start + name.length;
    found.push({ kind: "domain", target: text.slice(start, end), image: false, start, end });
    nameRun.lastIndex = Math.max(end, nameRun.lastIndex);
  }
  return found;
}
