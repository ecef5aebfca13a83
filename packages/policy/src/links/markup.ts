import { urlEnd } from "./find.ts";
import type { Candidate } from "./schema.ts";

const maxTitle = 1000;
const whitespace = /\s/;

/** Inline Markdown links and images: `[label](target "title")`, whatever the target is. */
export function findMarkdown(text: string): Candidate[] {
  const found: Candidate[] = [];
  const opened: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === "\\") i++;
    else if (char === "[") opened.push(i);
    else if (char === "]") {
      const open = opened.pop();
      if (open === undefined || text[i + 1] !== "(") continue;
      const link = inlineLink(text, open, i + 2);
      found.push(link);
      // What the target took in is not looked at again.
      i = Math.max(i, link.end - 1);
    }
  }
  return found;
}

function inlineLink(text: string, open: number, afterParen: number): Candidate {
  let at = afterParen;
  while (at < text.length && at < afterParen + 8 && whitespace.test(text[at] as string)) at++;
  const angled = text[at] === "<";
  const from = angled ? at + 1 : at;
  let end = angled ? indexBefore(text, ">", from) : urlEnd(text, from, from);
  const target = text.slice(from, end);
  if (angled && text[end] === ">") end++;
  const close = indexBefore(text, ")", end);
  const image = text[open - 1] === "!";
  return {
    kind: image ? "markdown-image" : "markdown-link",
    target,
    image,
    start: image ? open - 1 : open,
    end: text[close] === ")" ? close + 1 : end,
  };
}

/** Where the character comes, within one line and a bounded distance; otherwise the start itself. */
function indexBefore(text: string, char: string, from: number): number {
  const limit = Math.min(text.length, from + maxTitle);
  for (let i = from; i < limit && text[i] !== "\n"; i++) if (text[i] === char) return i;
  return from;
}

const attribute =
  /\b(?:src|href|srcset|poster|action|formaction|background|ping|cite|data)\s{0,3}=\s{0,3}(?:"([^">]*)|'([^'>]*)|([^\s"'>]+))/gi;
const tag = /<([a-z][a-z0-9-]{0,20})[\s/][^<>]*/gi;

/** Targets in attributes of HTML tags, complete or cut off. */
export function findHtml(text: string): Candidate[] {
  const found: Candidate[] = [];
  for (const element of text.matchAll(tag)) {
    for (const match of element[0].matchAll(attribute)) {
      const target = match[1] ?? match[2] ?? match[3] ?? "";
      const end = element.index + match.index + match[0].length;
      if (target !== "") {
        const image = element[1]?.toLowerCase() !== "a";
        found.push({ kind: "html", target, image, start: end - target.length, end });
      }
    }
  }
  return found;
}
