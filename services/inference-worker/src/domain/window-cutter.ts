import type { Chunk, Usage } from "../engine/engine.ts";

export interface WindowText {
  text: string;
  /** Only in the last window. */
  finishReason?: "stop" | "length";
  usage?: Usage;
}

export interface CutterOptions {
  /** A window without a sentence end is cut at about this many tokens. */
  maxTokens: number;
}

/** More than any token of ours makes; a "character" of hundreds of combining marks ends here, between code points. */
const maxCharacters = 4_096;
const sentenceEnd = /[.!?\u2026\u3002\uff01\uff1f]["'\u2019\u201d)\]]*\s+|[\u3002\uff01\uff1f]|\n+/gu;
const wordEnd = /\s+/gu;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * Cuts an answer into windows: at the end of a sentence, else between words, else between characters. Never inside a
 * surrogate pair or grapheme: a place is only cut once the character behind it is there, as that one may belong to it.
 */
export class WindowCutter {
  readonly #maxTokens: number;
  #text = "";
  #tokens = 0;

  constructor({ maxTokens }: CutterOptions) {
    this.#maxTokens = maxTokens;
  }

  /** Windows that are complete now; with the last chunk, all that is left. */
  push({ text, tokens, finishReason, usage }: Chunk): WindowText[] {
    this.#text += text;
    this.#tokens += tokens;
    const windows: WindowText[] = [];
    for (let at = this.#nextCut(); at > 0; at = this.#nextCut()) windows.push({ text: this.#take(at) });
    if (finishReason !== undefined) windows.push({ text: this.#take(this.#text.length), finishReason, usage });
    return windows;
  }

  #take(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    // How many tokens the rest is made of is not known: it counts as the one that it came with.
    this.#tokens = this.#text === "" ? 0 : 1;
    return taken;
  }

  /** 0: not yet. */
  #nextCut(): number {
    const text = this.#text;
    if (text === "") return 0;
    // Most pieces bring no place to cut: then nothing is segmented.
    const isPlace = graphemeStarts(text);
    const sentence = ends(text, sentenceEnd).find(isPlace);
    if (sentence !== undefined) return sentence;
    if (this.#tokens < this.#maxTokens && text.length < maxCharacters) return 0;
    return ends(text, wordEnd).findLast(isPlace) ?? lastGrapheme(text) ?? this.#forcedCut();
  }

  #forcedCut(): number {
    if (this.#text.length < maxCharacters) return 0;
    const low = this.#text.charCodeAt(maxCharacters);
    return low >= 0xdc00 && low <= 0xdfff ? maxCharacters - 1 : maxCharacters;
  }
}

/** Where matches end. */
function ends(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => match.index + match[0].length);
}

/** Whether a grapheme begins at an index, behind another one. */
function graphemeStarts(text: string): (index: number) => boolean {
  let segments: Intl.Segments | undefined;
  return (index) => {
    segments ??= graphemes.segment(text);
    return index > 0 && segments.containing(index)?.index === index;
  };
}

/** Where the last grapheme begins, if there is one before it. */
function lastGrapheme(text: string): number | undefined {
  return graphemes.segment(text).containing(text.length - 1)?.index || undefined;
}
