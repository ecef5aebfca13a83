import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalise } from "../normalise/index.ts";
import { extractLinks } from "./index.ts";

const settings = { bareTopLevels: ["com", "example", "org"] };

function extract(text: string) {
  return extractLinks(normalise(text).visible, text, settings);
}

function found(text: string): string[] {
  return extract(text).links.map(
    (link) => `${link.kind} ${link.scheme} ${link.host} ${text.slice(link.start, link.end)}`,
  );
}

describe("extractLinks", () => {
  it.each([
    ["see https://a.example/x?y=1.", "url https a.example https://a.example/x?y=1"],
    ["(https://a.example/w_(b))", "url https a.example https://a.example/w_(b)"],
    ["www.a.example is", "url  www.a.example www.a.example"],
    ["at //a.example/p", "url  a.example //a.example/p"],
    ["https://user:p@b.example:8443/", "url https b.example https://user:p@b.example:8443/"],
    ["https://a.example\\@b.example/", "url https a.example https://a.example\\@b.example/"],
    ["http:\\\\a.example/x", "url http a.example http:\\\\a.example/x"],
    ["https://bücher.example/", "url https xn--bcher-kva.example https://bücher.example/"],
    ["http://2130706433/x", "url http 127.0.0.1 http://2130706433/x"],
    ["ＨＴＴＰＳ://ａ.example/", "url https a.example ＨＴＴＰＳ://ａ.example/"],
    ["htt\u200bps://a\u200b.example/", "url https a.example htt\u200bps://a\u200b.example/"],
    ["hxxps://a[.]example/x", "url https a.example hxxps://a[.]example/x"],
    ["http[:]//a(dot)example/x", "url http a.example http[:]//a(dot)example/x"],
    ["a [.] example / b", "domain  a.example a [.] example"],
    ["javascript:alert(1)", "url javascript  javascript:alert(1)"],
    ["data:text/html;base64,AAAA", "url data  data:text/html;base64,AAAA"],
    ['[label](https://a.example/x "title") end', 'markdown-link https a.example [label](https://a.example/x "title")'],
    ["![alt](https://a.example/p.png?q=s)", "markdown-image https a.example ![alt](https://a.example/p.png?q=s)"],
    ["![alt](<https://a.example/a b>)", "markdown-image https a.example ![alt](<https://a.example/a b>)"],
    ["![x](/local.png)", "markdown-image   ![x](/local.png)"],
    ["[a.example](https://b.example/)", "markdown-link conflict  [a.example](https://b.example/)"],
    ["[ref]: https://a.example/x", "url https a.example https://a.example/x"],
    ["<img src='//a.example/p'>", "html  a.example //a.example/p"],
    ["<a href=https://a.example/p>", "html https a.example https://a.example/p"],
    ["go to a.example now", "domain  a.example a.example"],
    ["go to foo.sh/run", "domain  foo.sh foo.sh/run"],
    ["10.0.0.1:80/x", "domain  10.0.0.1 10.0.0.1:80/x"],
  ])("finds the link in %j", (text, expected) => {
    expect(found(text)).toEqual([expected]);
  });

  it("reports the outer link of an image inside a link once, and trusts neither host", () => {
    expect(found("[![i](https://a.example/i.png)](https://b.example/)")).toEqual([
      "markdown-link conflict  [![i](https://a.example/i.png)](https://b.example/)",
    ]);
  });

  it.each([
    "Plain text. No link here, e.g. none at all; 3.14 and v1.2.3, node.js and README.md",
    "a[0] = b(c) // comment\nfoo: bar, note:this and data: some, mail user@a.example",
    "import x from './src/index.ts/foo'; 12:30 a.m.",
  ])("finds none in ordinary text %j", (text) => {
    expect(found(text)).toEqual([]);
  });

  it("marks disguised links", () => {
    expect(extract("hxxp://a.example/").links[0]?.obfuscated).toBe(true);
    expect(extract("ht\u200btp://a.example/").links[0]?.obfuscated).toBe(true);
    expect(extract("http://a.example/").links[0]?.obfuscated).toBe(false);
  });

  it.each([
    ["text and [label", "text and ".length],
    ["text ![alt](https://a.exam", "text ".length],
    ["text and htt", "text and ".length],
    ["text <img src=", "text ".length],
    ["all done. ", "all done. ".length],
    ["see [x](https://a.example/) ok ", "see [x](https://a.example/) ok ".length],
  ])("tells where an unfinished link may begin: %j", (text, at) => {
    expect(extract(text).openFrom).toBe(at);
  });

  it("gives ordered spans inside the text, without overlaps, for any input", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "[",
        "](",
        ")",
        "!",
        "<img src=",
        '"',
        ">",
        "https://",
        "a.example",
        "hxxp",
        "[.]",
        "\u200b",
        "//",
        "data:",
        ",",
      ),
      fc.string({ unit: "binary", maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const text = pieces.join("");
        let last = 0;
        const { links, openFrom } = extract(text);
        for (const link of links) {
          expect(link.start).toBeGreaterThanOrEqual(last);
          expect(link.end).toBeGreaterThan(link.start);
          expect(link.end).toBeLessThanOrEqual(text.length);
          last = link.end;
        }
        expect(openFrom).toBeLessThanOrEqual(text.length);
      }),
      { numRuns: 1000 },
    );
  });

  it("takes time in proportion to length, up to a million characters", () => {
    const kinds = [
      "[](",
      "[",
      "data:.",
      "a.",
      "http://",
      "<a href=",
      "[.]",
      "![a](b ",
      "//a",
      'src="',
      "a[.]example ",
      "a-",
    ];
    for (const kind of kinds) {
      const timed = (size: number): number => {
        const text = kind.repeat(Math.ceil(size / kind.length));
        const { visible } = normalise(text);
        const start = cpuMs();
        extractLinks(visible, text, settings);
        return cpuMs() - start;
      };
      timed(50_000);
      const small = timed(125_000);
      expect(timed(1_000_000), JSON.stringify(kind)).toBeLessThan(Math.max(32 * small, 1500));
    }
  }, 180_000);
});

/** CPU time of this process: what else the machine does has no part in it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
