import fc from "fast-check";
import { expect, test } from "vitest";
import { splitInside } from "../../src/engine/llama/chat-prompt.ts";
import { StopScanner } from "../../src/engine/llama/stop-scanner.ts";

const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 40 });
const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
  maxLength: 3,
});

test("however the text is cut, the answer ends before the first stop text and nothing else is lost", () => {
  fc.assert(
    fc.property(
      letters,
      stops,
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 40, maxLength: 40 }),
      (text, ends, sizes) => {
        const scanner = new StopScanner(ends);
        let output = "";
        let at = 0;
        for (const size of sizes) {
          output += scanner.push(text.slice(at, at + size));
          at += size;
        }
        output += scanner.push(text.slice(at)) + scanner.flush();
        const hits = ends.map((end) => text.indexOf(end)).filter((hit) => hit >= 0);
        // Which of two overlapping stops comes first may depend on the cut; that nothing of a stop is shown may not.
        expect(scanner.stopped).toBe(hits.length > 0);
        expect(text.startsWith(output)).toBe(true);
        if (hits.length === 0) expect(output).toBe(text);
        for (const end of ends) expect(output.includes(end)).toBe(false);
      },
    ),
  );
});

test("only what may become a stop text is kept back", () => {
  const scanner = new StopScanner(["END"]);
  expect(scanner.push("some text E")).toBe("some text ");
  expect(scanner.push("lse EN")).toBe("Else ");
  expect(scanner.push("D and more")).toBe("");
  expect(scanner.stopped).toBe(true);
});

test("cutting inside markers keeps the text and leaves no marker whole", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("<|a|>", "</s>", "x", "<", "|>", "a"), { maxLength: 20 }), (parts) => {
      const text = parts.join("");
      const pieces = splitInside(text, ["<|a|>", "</s>"]);
      expect(pieces.join("")).toBe(text);
      for (const piece of pieces) expect(piece.includes("<|a|>") || piece.includes("</s>")).toBe(false);
    }),
  );
});
