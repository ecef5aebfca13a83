import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  applyEdits,
  defaultBundleDir,
  type JudgeInput,
  type Judgement,
  judge,
  loadBundle,
  PolicyEngine,
  type TextPart,
} from "../src/index.ts";

let engine: PolicyEngine;

beforeAll(() => {
  engine = PolicyEngine.create(loadBundle(defaultBundleDir));
});

function judged(parts: TextPart[], stage: JudgeInput["stage"] = "door1"): Judgement {
  const identity = { tenant: "t", subject: "s", groups: ["sallyport-users"] };
  return judge(engine, {
    stage,
    modality: "text",
    operation: "chat",
    identity,
    model: { name: "m", tier: "standard" },
    parts,
  });
}

const output = (text: string, reviewFrom = 0): TextPart[] => [{ text, trust: "model", reviewFrom }];
const marker = "SALLYPORT-BLOCK-ME";

describe("judge", () => {
  it("finds the marker however it is disguised", () => {
    const disguise = fc.array(fc.constantFrom("\u200b", "\u2060", "\u0336", "\ufe0f", "\u202e", "\u00ad"), {
      maxLength: 2,
    });
    const shapes: ((char: string) => string)[] = [
      (c) => c.toLowerCase(),
      (c) => String.fromCodePoint((c.codePointAt(0) as number) + 0xfee0),
      (c) => (/[A-Z]/.test(c) ? String.fromCodePoint(0x1d400 + c.charCodeAt(0) - 65) : c),
      (c) => ({ A: "4", B: "8", E: "3", O: "0", S: "5", T: "7", L: "1" })[c] ?? c,
      (c) => ({ A: "А", B: "В", C: "С", E: "Е", K: "К", M: "М", O: "О", P: "Р", T: "Т", Y: "У" })[c] ?? c,
    ];
    const letter = fc.tuple(fc.nat(shapes.length - 1), disguise);
    fc.assert(
      fc.property(
        fc.array(letter, { minLength: marker.length, maxLength: marker.length }),
        fc.constantFrom("", " ", ".", "_"),
        (letters, gap) => {
          const text = Array.from(marker, (char, i) => {
            const [shape, junk] = letters[i] as [number, string[]];
            return `${shapes[shape]?.(char) ?? char}${junk.join("")}`;
          }).join(gap);
          expect(judged([{ text, trust: "caller" }]).decision).toBe("deny");
        },
      ),
      { numRuns: 300 },
    );
  });

  it("sees what is split over messages", () => {
    const parts: TextPart[] = [marker.slice(0, 10), marker.slice(10)].map((text) => ({ text, trust: "caller" }));
    expect(judged(parts).decision).toBe("deny");
  });

  it("never throws, and edits fit the text, for any input at either door", () => {
    const piece = fc.oneof(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc.constantFrom(
        "https://a.example/",
        "![x](",
        ")",
        "[",
        "AKIAABCDEFGHIJKLMNOP",
        "\u200b",
        "-----BEGIN PRIVATE KEY-----",
        " ",
      ),
    );
    const texts = fc.array(fc.array(piece, { maxLength: 12 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(texts, fc.constantFrom("door1" as const, "door2" as const), fc.nat(20), (raw, stage, from) => {
        const parts = raw.map((pieces): TextPart => {
          const text = pieces.join("");
          return { text, trust: "model", reviewFrom: Math.min(from, text.length) };
        });
        const result = judged(parts, stage);
        result.edits.forEach((edits, index) => {
          const { text, reviewFrom = 0 } = parts[index] as TextPart;
          expect(applyEdits(text, edits).startsWith(text.slice(0, reviewFrom))).toBe(true);
        });
      }),
      { numRuns: 500 },
    );
  });

  it("leaves no link in a sanitised text", () => {
    const hosts = fc.constantFrom(
      "https://a.example/",
      "http://b.example?x=1",
      "![i](https://c.example/i)",
      "[d](//d.example)",
      "hxxp://e[.]example",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(hosts, fc.lorem({ maxCount: 3 })), { minLength: 1, maxLength: 8 }), (pieces) => {
        const text = pieces.join(" ");
        const result = judged(output(text), "door2");
        const clean = applyEdits(text, result.edits[0] ?? []);
        expect(clean).not.toMatch(/example/);
        expect(judged(output(clean), "door2").decision).toBe("allow");
      }),
      { numRuns: 200 },
    );
  });

  it("does not judge twice what was reviewed before, but sees what reaches over the border", () => {
    const text = `${marker} and on`;
    expect(judged(output(text, marker.length), "door2").decision).toBe("allow");
    expect(judged(output(text, marker.length - 2), "door2").decision).toBe("deny");
  });

  it("masks only from the border on", () => {
    const text = "AKIAABCDEFGHIJKLMNOP rest";
    const [edits] = judged(output(text, 4), "door2").edits;
    expect(applyEdits(text, edits ?? [])).toBe("AKIA[secret removed] rest");
  });

  it("tells where the tail is still open", () => {
    expect(judged(output("Some words and ![a](https://docs.sallyport"), "door2").openFrom).toEqual([
      "Some words and ".length,
    ]);
    expect(judged(output("Some words and. "), "door2").openFrom).toEqual(["Some words and. ".length]);
  });

  it("holds what has more findings than are kept", () => {
    const text = Array.from({ length: 2000 }, (_, i) => `https://h${i}.example/`).join(" ");
    expect(judged(output(text), "door2").decision).toBe("hold");
  });

  it("takes time in proportion to length", () => {
    const kinds = [
      "her photo ",
      "u n d r e s s ",
      "ignore all ",
      "eyJ",
      "AKIA",
      "https://a.example ",
      "her ",
      "[](",
      "Anna Berg ",
    ];
    for (const kind of kinds) {
      const timed = (size: number): number => {
        const start = cpuMs();
        judged(output(kind.repeat(Math.ceil(size / kind.length))), "door2");
        return cpuMs() - start;
      };
      timed(20_000);
      const small = timed(40_000);
      expect(timed(320_000), kind).toBeLessThan(Math.max(32 * small, 1500));
    }
  }, 180_000);
});

/** CPU time of this process: what else the machine does has no part in it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
