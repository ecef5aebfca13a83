import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold } from "./fold.ts";
import { normalise, toText, type ViewName } from "./index.ts";
import type { MappedText } from "./mapped-text.ts";

function view(text: string, name: ViewName): string | undefined {
  const found = normalise(text).views.find((v) => v.name === name);
  return found && toText(found.text).trim();
}

const awkward = fc.string({
  unit: fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    fc.constantFrom(" ", ".", "-", "l", "1", "$", "\u200b", "\u202e", "\u0301", "\ud800", "\udc00", "ǅ", "İ", "ß", "ﷺ"),
    fc.constantFrom("𝖆", "ａ", "а", "🇦", "\u{e0041}", "각", "ᄀ", "が", "か\u3099", "'", "\n"),
  ),
  maxLength: 120,
});

function expectGoodOffsets(mapped: MappedText, length: number): void {
  let start = 0;
  let end = 0;
  for (let i = 0; i < mapped.length; i++) {
    expect(mapped.starts[i]).toBeGreaterThanOrEqual(start);
    expect(mapped.ends[i]).toBeGreaterThanOrEqual(end);
    expect(mapped.ends[i]).toBeGreaterThanOrEqual(mapped.starts[i] as number);
    expect(mapped.ends[i]).toBeLessThanOrEqual(length);
    start = mapped.starts[i] as number;
    end = mapped.ends[i] as number;
  }
}

describe("normalise", () => {
  it("keeps offsets of every view in range and monotone, on any input", () => {
    fc.assert(
      fc.property(awkward, (text) => {
        const result = normalise(text);
        expectGoodOffsets(result.visible, text.length);
        for (const { text: mapped } of result.views) expectGoodOffsets(mapped, text.length);
      }),
      { numRuns: 500 },
    );
  });

  it("folds to a fixed point, for every code point", () => {
    const wrong: string[] = [];
    for (let point = 0; point <= 0x10ffff; point++) {
      const once = toText(fold(String.fromCodePoint(point)).base);
      if (once !== "" && toText(fold(once).base) !== once) wrong.push(point.toString(16));
    }
    expect(wrong).toEqual([]);
  }, 180_000);

  it("folds to a fixed point, for any text", () => {
    fc.assert(
      fc.property(awkward, (text) => {
        const once = toText(fold(text).base);
        expect(toText(fold(once).base)).toBe(once);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["full width", "ＭＡＲＫＥＲ"],
    ["mathematical letters", "𝕸𝖆𝖗𝖐𝖊𝖗"],
    ["zero-width characters", "m\u200ba\u200dr\u2060k\ufefFe\u00adr".replace("F", "f")],
    ["bidirectional controls", "\u202ema\u2066rker\u202c"],
    ["combining marks", "m\u0336a\u0301r\u0308\u0301ker"],
    ["variation selectors", "m\ufe0fa\u{e0101}rker"],
  ])("reads through %s in the folded view", (_, text) => {
    expect(view(text, "folded")).toBe("marker");
  });

  it.each([
    ["Cyrillic and Greek look-alikes", "mаrkеr"],
    ["small capitals", "ᴍᴀʀᴋᴇʀ"],
    ["regional indicators", "🇲🇦🇷🇰🇪🇷"],
    ["digits and symbols", "m@rk3r"],
  ])("reads through %s in the leet view", (_, text) => {
    expect(view(text, "leet")).toBe("marker");
  });

  it.each([
    ["dots", "m.a.r.k.e.r"],
    ["spaces", "m a r k e r"],
    ["line breaks", "m\na\nr\nk\ne\nr"],
    ["emoji", "m🔥a🔥r🔥k🔥e🔥r"],
    ["one separator", "mar-ker"],
    ["separators and digits", "m-4-r-k-3-r"],
  ])("closes words pulled apart by %s", (_, text) => {
    expect(view(text, "joined")).toBe("marker");
  });

  it("finds word borders in spelled-out text by the wider gaps", () => {
    expect(view("o n e  t w o", "joined")).toBe("one two");
    expect(view("o n e  t w o", "spaced")).toBe("onetwo");
    expect(view("m - a_r * k e ~ r", "spaced")).toBe("marker");
  });

  it("leaves plain numbers alone", () => {
    expect(view("call 455 or 8008 pls2", "leet")).toBe("caii 455 or 8008 pisz");
  });

  it("reads what tag characters spell", () => {
    const hidden = Array.from("Marker", (c) => String.fromCodePoint(0xe0000 + c.charCodeAt(0))).join("");
    expect(view(`hello${hidden} there`, "tags")).toBe("marker");
    expect(normalise(hidden).facts.tags).toBe(6);
  });

  it("keeps words of other scripts as they are", () => {
    expect(view("Голая ПРАВДА", "folded")).toBe("голая правда");
    expect(view("写真をbotで", "folded")).toBe("写真を bot て\u3099");
  });

  it("maps a hit back to exactly what was written", () => {
    const text = "see m\u200b.а.r.k.3.r\u0301!";
    const joined = normalise(text).views.find((v) => v.name === "joined")?.text as MappedText;
    const at = toText(joined).indexOf("marker");
    expect(text.slice(joined.starts[at], joined.ends[at + 5])).toBe("m\u200b.а.r.k.3.r\u0301");
  });

  it("takes time in proportion to length, up to a million characters", () => {
    const kinds = ["a ", "а\u200b", "m.", "\u0301", "ﷺ", "🔥a", "4$", "\u{e0041}", "각"];
    for (const kind of kinds) {
      normalise(kind.repeat(50_000));
      const small = time(() => normalise(kind.repeat(Math.ceil(125_000 / kind.length))));
      const large = time(() => normalise(kind.repeat(Math.ceil(1_000_000 / kind.length))));
      // Eight times the length may take up to four times eight: far from the 64 of quadratic growth.
      expect(large, JSON.stringify(kind)).toBeLessThan(Math.max(32 * small, 1000));
    }
  }, 180_000);
});

function time(run: () => unknown): number {
  const start = cpuMs();
  run();
  return cpuMs() - start;
}

/** CPU time of this process: what else the machine does has no part in it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
