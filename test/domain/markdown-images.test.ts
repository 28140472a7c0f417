import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { imagesIn, replaceImages } from "../../src/domain/markdown-images.ts";

const urls = (text: string): string[] => imagesIn(text).map(({ url }) => url);
const id = "@lADabc-_123";
const asId = (text: string): string => replaceImages(text, imagesIn(text), () => id);
const asLink = (text: string): string => replaceImages(text, imagesIn(text), () => undefined);

describe("pictures of a text", () => {
  it.each([
    ["plain", "a ![b](https://x.example/1.png) c", ["https://x.example/1.png"]],
    [
      "with a title, in brackets, twice",
      '![](<http://x.example/a b.png> "t")![](http://y.example)',
      ["http://x.example/a b.png", "http://y.example"],
    ],
    [
      "in a list, a quote, a table",
      "- ![](http://a.example)\n\n> ![](http://b.example)\n\n|a|\n|-|\n|![](http://c.example)|",
      ["http://a.example", "http://b.example", "http://c.example"],
    ],
    ["as the words of a link", "[![a](http://a.example/i.png)](http://b.example)", ["http://a.example/i.png"]],
    [
      "in code of all kinds",
      "`![](http://a.example)`\n\n```\n![](http://b.example)\n```\n\n    ![](http://c.example)\n",
      [],
    ],
    [
      "escaped, unfinished, by reference",
      "\\![a](http://a.example) ![b](http://b.example ![c][d]\n\n[d]: http://c.example",
      [],
    ],
    ["of another kind", "![a](data:image/png;base64,xx) ![b](@lAD123) ![c](file:///etc/passwd) ![d](/x.png)", []],
    ["behind a byte order mark", "\uFEFF![a](http://a.example)", ["http://a.example"]],
  ])("%s", (_name, text, expected) => {
    expect(urls(text)).toEqual(expected);
  });

  it("none where parsing would take long", () => {
    expect(urls(`${"[".repeat(2_000)}![](http://a.example)`)).toEqual([]);
    expect(urls(`${">".repeat(5_000)}![](http://a.example)`)).toEqual([]);
    expect(urls(`![](http://a.example)${"x".repeat(30_000)}`)).toEqual([]);
  });
});

describe("in their place", () => {
  it("another address, the words kept", () => {
    expect(asId('vor ![a *b* [c]](http://x.example "t") nach')).toBe(`vor ![a b \\[c\\]](${id}) nach`);
    expect(asId("![](http://x.example)")).toBe(`![](${id})`);
  });

  it("a link, by the address where there are no words", () => {
    expect(asLink("![Plan](http://x.example/a(1).png)")).toBe("[Plan](http://x.example/a%281%29.png)");
    expect(asLink("![](http://x.example/a)")).toBe("[http://x.example/a](http://x.example/a)");
    expect(asLink("![x]( <http://x.example/a b> )")).toBe("[x](http://x.example/a%20b)");
  });

  it("words alone where it stood in a link", () => {
    expect(asLink("[![Plan](http://a.example)](http://b.example)")).toBe("[Plan](http://b.example)");
  });
});

const words = fc.string({
  unit: fc.constantFrom(
    "a",
    "字",
    " ",
    "\n",
    "*",
    "`",
    ">",
    "-",
    "|",
    "\\",
    "!",
    "[",
    "]",
    "(",
    ")",
    "#",
    "\r\n",
    "👍",
    "&amp;",
    "_",
  ),
});
const image = fc
  .tuple(fc.string({ unit: fc.constantFrom("a", "图", " ", "*", "\\]") }), fc.constantFrom("png", "x y", "a(1)"))
  .map(([alt, name]) => `![${alt}](<http://x.example/${name}>)`);
const fenced = fc.constantFrom("```\n![no](http://x.example/no)\n```", "`![no](http://x.example/no)`");
const documents = fc.array(fc.oneof(words, image, fenced), { maxLength: 12 }).map((pieces) => pieces.join("\n\n"));

describe("any text", () => {
  it("is byte for byte the same outside its pictures", () => {
    fc.assert(
      fc.property(documents, (text) => {
        const images = imagesIn(text);
        const replaced = asId(text);
        const outside: string[] = [];
        let end = 0;
        for (const { start, end: stop } of images) {
          outside.push(text.slice(end, start));
          end = stop;
        }
        outside.push(text.slice(end));
        let at = 0;
        for (const [n, piece] of outside.entries()) {
          expect(replaced.slice(at, at + piece.length)).toBe(piece);
          at += piece.length;
          if (n === images.length) break;
          expect(replaced.startsWith("![", at)).toBe(true);
          at = replaced.indexOf(`](${id})`, at) + `](${id})`.length;
        }
        expect(at).toBe(replaced.length);
      }),
      { numRuns: 500 },
    );
  });

  it("has pictures that do not overlap and are written as such, and once replaced none is left to fetch", () => {
    fc.assert(
      fc.property(documents, (text) => {
        const images = imagesIn(text);
        let end = 0;
        for (const { start, end: stop } of images) {
          expect(start).toBeGreaterThanOrEqual(end);
          expect(text.slice(start, stop)).toMatch(/^!\[[^]*\)$/);
          end = stop;
        }
        expect(urls(asId(text))).toEqual([]);
        // Code stays code: what is inside is neither a picture nor changed.
        const count = (where: string): number => where.split("![no](http://x.example/no)").length;
        expect(count(asId(text))).toBe(count(text));
      }),
      { numRuns: 500 },
    );
  });
});
