import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PendingText } from "./pending-text.ts";

describe("what is kept back is never sent early", () => {
  test("a tail that is still open waits for the next window", () => {
    const text = new PendingText(100);
    text.append("See http://exa");
    expect(text.take(4, [], false)).toEqual({ text: "See ", edited: false });
    text.append("mple.com now");
    const { text: view, from } = text.view;
    expect(view).toBe("See http://example.com now");
    const edit = { start: 4, end: 22, replacement: "[link removed]" };
    expect(text.take(view.length, [edit], true)).toEqual({ text: "[link removed] now", edited: true });
    expect(from).toBe(4);
  });

  test("an edit is never cut in two", () => {
    const text = new PendingText(100);
    text.append("one secret-token two");
    expect(text.take(8, [{ start: 4, end: 16, replacement: "***" }], false).text).toBe("one ");
    expect(text.take(20, [{ start: 4, end: 16, replacement: "***" }], true).text).toBe("*** two");
  });

  test("a removed link is not found again in the context", () => {
    const text = new PendingText(100);
    text.append("a http://x.example b ");
    text.take(21, [{ start: 2, end: 18, replacement: "" }], false);
    text.append("c");
    expect(text.view.text).toBe("a  b c");
  });

  test("without edits the parts add up to the whole, wherever it is cut and held back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ unit: "binary", maxLength: 30 }), fc.nat(60)), { maxLength: 20 }),
        fc.nat(40),
        (windows, context) => {
          const pending = new PendingText(context);
          let out = "";
          for (const [window, open] of windows) {
            pending.append(window);
            out += pending.take(open, [], false).text;
          }
          out += pending.take(0, [], true).text;
          expect(out).toBe(windows.map(([window]) => window).join(""));
        },
      ),
    );
  });
});
