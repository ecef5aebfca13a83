import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WindowCutter, type WindowText } from "./window-cutter.ts";

const usage = { promptTokens: 3, completionTokens: 4 };

function cut(pieces: readonly string[], maxTokens = 24): WindowText[] {
  const cutter = new WindowCutter({ maxTokens });
  const windows = pieces.flatMap((text) => cutter.push({ text, tokens: 1 }));
  return [...windows, ...cutter.push({ text: "", tokens: 0, finishReason: "stop", usage })];
}

const texts = (windows: readonly WindowText[]) => windows.map((window) => window.text);

describe("where an answer is cut", () => {
  test("after a sentence, with the space that follows it", () => {
    expect(texts(cut(["One", " two", ".", " Three", "!", " \u201cFour", "?\u201d", " five"]))).toEqual([
      "One two. ",
      "Three! ",
      "\u201cFour?\u201d ",
      "five",
    ]);
  });

  test("not inside a number or an abbreviation without a space", () => {
    expect(texts(cut(["It", " is", " 3", ".", "14", " or", " e.g", ".", "x"]))).toEqual(["It is 3.14 or e.g.x"]);
  });

  test("after lines, and after full stops of scripts without spaces", () => {
    expect(texts(cut(["a\n", "b\n\n", "c"]))).toEqual(["a\n", "b\n\n", "c"]);
    expect(texts(cut(["\u4f60\u597d\u3002", "\u518d\u89c1"]))).toEqual(["\u4f60\u597d\u3002", "\u518d\u89c1"]);
  });

  test("between words at about the limit of tokens", () => {
    const windows = texts(cut(Array(100).fill(" word"), 10));
    expect(windows.join("")).toBe(" word".repeat(100));
    expect(windows.length).toBeGreaterThanOrEqual(9);
    expect(windows.every((text) => text.trim().split(" ").length <= 11)).toBe(true);
  });

  test("between characters where there are no words", () => {
    const windows = texts(cut(Array(100).fill("\u{1f468}\u200d\u{1f469}\u200d\u{1f467}"), 10));
    expect(windows.length).toBeGreaterThan(5);
    for (const text of windows) expect(text.replaceAll("\u{1f468}\u200d\u{1f469}\u200d\u{1f467}", "")).toBe("");
  });

  test("a character without end is bounded", () => {
    const windows = texts(cut(["a", ...Array(3_000).fill("\u0301\u{1f3ff}\u200d")], 10));
    expect(windows.every((text) => text.length <= 4_200 && text.isWellFormed())).toBe(true);
  });
});

describe("the last window", () => {
  test("carries finish reason and usage, also without text, and no other window does", () => {
    const windows = cut(["One. ", "Two. "]);
    expect(windows.at(-1)).toEqual({ text: "Two. ", finishReason: "stop", usage });
    expect(windows.slice(0, -1).every((window) => window.finishReason === undefined)).toBe(true);
    expect(cut([])).toEqual([{ text: "", finishReason: "stop", usage }]);
  });
});

test("whatever is said, in whatever pieces: nothing is lost, no surrogate pair and no grapheme is split", () => {
  const unit = fc.constantFrom(
    "a",
    ". ",
    " ",
    "\n",
    "\u0301",
    "\u{1f600}",
    "\u200d",
    "\u{1f1e9}",
    "\u{1f3fb}",
    "\r",
    "e\u0301",
  );
  const whole = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 80 }), fc.integer({ min: 1, max: 12 }), (pieces, maxTokens) => {
      const windows = texts(cut(pieces, maxTokens));
      const text = pieces.join("");
      expect(windows.join("")).toBe(text);
      const boundaries = new Set([...whole.segment(text)].map(({ index }) => index).concat(text.length));
      let at = 0;
      for (const window of windows) {
        at += window.length;
        expect(window.isWellFormed()).toBe(true);
        expect(boundaries.has(at)).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});
