import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalise } from "../normalise/index.ts";
import { buildAhoCorasick } from "./aho-corasick.ts";
import { compileMatcher, type MatchResult } from "./matcher.ts";
import { findProperNames } from "./proper-names.ts";
import type { RuleFile } from "./schema.ts";

const settings = { spacedMinLength: 3, squashedMinLength: 12, maxHitsPerRule: 64 };

function match(file: Partial<RuleFile>, text: string): MatchResult {
  return compileMatcher([{ id: "test", languages: [], ...file }], settings).match(normalise(text));
}

function found(file: Partial<RuleFile>, text: string): string[] {
  return match(file, text).hits.map((hit) => `${hit.view}: ${text.slice(hit.start, hit.end)}`);
}

const units = (text: string): Uint16Array => Uint16Array.from(text, (char) => char.charCodeAt(0));

describe("the automaton", () => {
  it("finds exactly what a plain search finds, for any patterns and text", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 });
    const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "d"), maxLength: 60 });
    fc.assert(
      fc.property(fc.uniqueArray(letters, { minLength: 1, maxLength: 12 }), text, (patterns, haystack) => {
        const expected: string[] = [];
        for (let end = 1; end <= haystack.length; end++) {
          patterns.forEach((pattern, index) => {
            if (haystack.slice(0, end).endsWith(pattern)) expected.push(`${index}@${end}`);
          });
        }
        const actual: string[] = [];
        const automaton = buildAhoCorasick(patterns.map(units));
        automaton.scan(units(haystack), haystack.length, (pattern, end) => actual.push(`${pattern}@${end}`));
        expect(actual.sort()).toEqual(expected.sort());
      }),
      { numRuns: 500 },
    );
  });

  it("stays linear where many patterns share prefixes and the text almost matches", () => {
    const patterns = Array.from({ length: 200 }, (_, i) => units(`${"a".repeat(i + 1)}b`));
    const automaton = buildAhoCorasick(patterns);
    const text = units("a".repeat(1_000_000));
    const start = cpuMs();
    automaton.scan(text, text.length, () => expect.unreachable());
    expect(cpuMs() - start).toBeLessThan(10_000);
  });
});

describe("terms", () => {
  const file: Partial<RuleFile> = {
    lists: { fruit: ["apple", "red pear", "berr*", "*melon", "梨", "яблоко"] },
    rules: [{ id: "fruit", category: "fruit", severity: 1, any: ["fruit"], views: ["folded"] }],
  };

  it.each([
    ["an Apple!", ["folded: Apple"]],
    ["pineapple", []],
    ["a red\n pear", ["folded: red\n pear"]],
    ["blue berries", ["folded: berr"]],
    ["a watermelon", ["folded: melon"]],
    ["我吃梨了", ["folded: 梨"]],
    ["ЯБЛОКО", ["folded: ЯБЛОКО"]],
    ["яблоковый", []],
  ])("match whole words, phrases and open ends: %j", (text, expected) => {
    expect(found(file, text)).toEqual(expected);
  });

  it("count once in the plainest view that shows them", () => {
    const everywhere = { ...file, rules: [{ id: "fruit", category: "fruit", severity: 1, any: ["fruit"] }] };
    expect(found(everywhere, "apple ap-ple 4pple a p p l e")).toEqual([
      "folded: apple",
      "joined: ap-ple",
      "leet: 4pple",
      "joined: a p p l e",
    ]);
  });

  it("are bounded in number, and the cut is told", () => {
    const result = match(file, "apple ".repeat(1000));
    expect(result.hits).toHaveLength(settings.maxHitsPerRule);
    expect(result.truncated).toBe(true);
  });
});

describe("combinations", () => {
  const lists = { verb: ["take", "takes"], thing: ["key", "keys"], place: ["house"], excuse: ["locksmith"] };
  const rule = { id: "r", category: "c", severity: 1, all: [["verb"], ["thing"]], within: 3 };

  it.each([
    ["take the key", 1],
    ["the key he takes", 1],
    ["take one two three key", 0],
    ["take one two key", 1],
    ["take take take", 0],
  ])("need every slot, in any order, near enough: %j", (text, hits) => {
    expect(match({ lists, rules: [rule] }, text).hits).toHaveLength(hits);
  });

  it("agree with a search over all pairs, for any text", () => {
    const words = fc.array(fc.constantFrom("take", "key", "and"), { maxLength: 30 });
    fc.assert(
      fc.property(words, (text) => {
        const near = text.some((a, i) => a === "take" && text.some((b, j) => b === "key" && Math.abs(i - j) <= 3));
        expect(match({ lists, rules: [rule] }, text.join(" ")).hits.length > 0).toBe(near);
      }),
      { numRuns: 500 },
    );
  });

  it("may be parts of other rules, and may demand an order", () => {
    const derived = { taking: { all: [["verb"], ["thing"]], within: 2, ordered: true } };
    const rules = [{ id: "r", category: "c", severity: 1, all: [["taking"], ["place"]], within: 5 }];
    expect(match({ lists, derived, rules }, "takes the keys of the house").hits).toHaveLength(1);
    expect(match({ lists, derived, rules }, "the keys he takes to the house").hits).toHaveLength(0);
  });

  it("tell which contexts stand near", () => {
    const near = { ...rule, contexts: ["excuse"], contextWithin: 4 };
    expect(match({ lists, rules: [near] }, "a locksmith may take a key").hits[0]?.contexts).toEqual(["excuse"]);
    expect(match({ lists, rules: [near] }, `a locksmith ${"x ".repeat(20)} take a key`).hits[0]?.contexts).toEqual([]);
  });

  it("know names by their capitals", () => {
    const rules = [{ id: "r", category: "c", severity: 1, all: [["verb"], ["@name"]], within: 4 }];
    expect(match({ lists, rules }, "please take Anna Berg home").hits).toHaveLength(1);
    expect(match({ lists, rules }, "Take Anna Berg home").hits).toHaveLength(1);
    expect(match({ lists, rules }, "please take the key home").hits).toHaveLength(0);
    expect(findProperNames("The Quick Brown fox. Émile Zola wrote").length).toBe(3);
  });
});

describe("formats", () => {
  const parts = [
    { literal: "id-" },
    { class: "a-z", min: 2, max: 4 },
    { literal: "." },
    { class: "0-9", min: 1, max: 3 },
  ];
  const file = { formats: [{ id: "f", category: "c", severity: 1, parts }] };

  it.each([
    ["x id-ab.1 y", ["visible: id-ab.1"]],
    ["id-a.1", []],
    ["id-abcde.1", []],
    ["xid-ab.1", []],
    ["id-id-ab.12", ["visible: id-ab.12"]],
    ["id-a\u200bb.1", ["visible: id-a\u200bb.1"]],
  ])("match exactly: %j", (text, expected) => {
    expect(found(file, text)).toEqual(expected);
  });

  it("stay linear when a literal comes again and again", () => {
    const body = {
      formats: [{ id: "f", category: "c", severity: 1, parts: [{ literal: "-a" }, { class: "a-z-", min: 9, max: 9 }] }],
    };
    const start = cpuMs();
    match(body, "-a".repeat(500_000));
    expect(cpuMs() - start).toBeLessThan(10_000);
  }, 20_000);
});

describe("rule files with faults", () => {
  const good = { id: "r", category: "c", severity: 1 };
  it.each<[string, Partial<RuleFile>, RegExp]>([
    ["unknown list", { rules: [{ ...good, any: ["none"] }] }, /unknown list none/],
    ["no list", { rules: [{ ...good, any: [] }] }, /names no lists/],
    [
      "unknown view",
      { lists: { a: ["x"] }, rules: [{ ...good, any: ["a"], views: ["upside" as never] }] },
      /unknown view/,
    ],
    [
      "same id twice",
      {
        lists: { a: ["x"] },
        rules: [
          { ...good, any: ["a"] },
          { ...good, any: ["a"] },
        ],
      },
      /used twice/,
    ],
    ["one slot", { lists: { a: ["x"] }, rules: [{ ...good, all: [["a"]], within: 2 }] }, /two to six/],
    ["severity out of range", { lists: { a: ["x"] }, rules: [{ ...good, severity: 2, any: ["a"] }] }, /severity/],
    ["empty term", { lists: { a: ["*"] } }, /non-empty/],
    [
      "derivation in a circle",
      { lists: { a: ["x"] }, derived: { d: { all: [["d"], ["a"]], within: 2 } } },
      /unknown list d/,
    ],
    [
      "format that could backtrack",
      { formats: [{ ...good, parts: [{ literal: "x" }, { class: "a-z", min: 1, max: 9 }, { literal: "b" }] }] },
      /must not begin/,
    ],
  ])("are refused: %s", (_, file, message) => {
    expect(() => match(file, "x")).toThrow(message);
  });
});

/** CPU time of this process: what else the machine does has no part in it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
