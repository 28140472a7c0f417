import fc from "fast-check";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { describe, expect, it } from "vitest";
import { PART_LIMITS, splitText, type TextPart } from "../../src/domain/text.ts";
import { documents } from "./split-documents.ts";
import { slicesOf } from "./split-oracle.ts";

interface Node {
  type: string;
  value?: string;
  children?: Node[];
  position?: { start: { offset?: number | undefined }; end: { offset?: number | undefined } } | undefined;
}

const parse = (text: string): Node => fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });

function* nodesOf(node: Node, type: string): Generator<Node> {
  if (node.type === type) yield node;
  for (const child of node.children ?? []) yield* nodesOf(child, type);
}

const sourceOf = (text: string, node: Node): string =>
  text.slice(node.position?.start.offset, node.position?.end.offset);

const LIMITS = [
  { characters: 300, jsonBytes: 1_200 },
  { characters: 900, jsonBytes: 1_300 },
  { characters: 1_000, jsonBytes: 4_000 },
] as const;
const limits = fc.constantFrom(...LIMITS);

function expectWithin(parts: TextPart[], limit: { characters: number; jsonBytes: number }): void {
  for (const part of parts) {
    expect(part.text.length).toBeLessThanOrEqual(limit.characters);
    expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(limit.jsonBytes);
  }
}

const graphemes = new Intl.Segmenter("zh", { granularity: "grapheme" });

function expectWholeGraphemes(source: string, parts: TextPart[]): void {
  const slices = slicesOf(
    source,
    parts.map(({ text }) => text),
  );
  expect(slices, "nothing lost, nothing added").toBeDefined();
  const segments = graphemes.segment(source);
  for (const { start, end } of slices ?? []) {
    for (const at of [start, end]) {
      if (at < source.length) expect(segments.containing(at)?.index).toBe(at);
    }
  }
}

const RUNS = { numRuns: 150 };

describe("splitting Markdown, whatever it says", () => {
  it("keeps every part within the limits, loses nothing and cuts no grapheme", () => {
    fc.assert(
      fc.property(documents, limits, ({ source }, limit) => {
        const parts = splitText(source, { title: "标题", format: "markdown", limits: limit });
        expectWithin(parts, limit);
        for (const { text } of parts) expect(text.trim()).not.toBe("");
        expectWholeGraphemes(source, parts);
      }),
      RUNS,
    );
  });

  it("closes every fence in its part and leaves every code line in a code block", () => {
    fc.assert(
      fc.property(documents, limits, ({ source, codeMarks }, limit) => {
        const parts = splitText(source, { title: "", format: "markdown", limits: limit });
        const inCode = new Set<string>();
        for (const { text } of parts) {
          for (const code of nodesOf(parse(text), "code")) {
            expect(sourceOf(text, code)).toMatch(/^(`{3,}|~{3,})[^]*\n[ \t>]*\1$/);
            for (const [mark] of (code.value ?? "").matchAll(/c\d+x/g)) inCode.add(mark);
          }
        }
        expect([...inCode]).toEqual(codeMarks);
      }),
      RUNS,
    );
  });

  it("gives every part of a table its header, and keeps quotes quoted", () => {
    fc.assert(
      fc.property(documents, limits, ({ source, rowMarks, quoteMarks }, limit) => {
        const parts = splitText(source, { title: "", format: "markdown", limits: limit });
        const rows = new Set<string>();
        const quoted = new Set<string>();
        for (const { text } of parts) {
          const tree = parse(text);
          for (const table of nodesOf(tree, "table")) {
            expect(sourceOf(text, table)).toMatch(/^\|? ?head 头/);
            for (const [mark] of sourceOf(text, table).matchAll(/r\d+x/g)) rows.add(mark);
          }
          for (const quote of nodesOf(tree, "blockquote")) {
            for (const [mark] of sourceOf(text, quote).matchAll(/q\d+x/g)) quoted.add(mark);
          }
        }
        expect([...rows]).toEqual(rowMarks);
        expect([...quoted]).toEqual(quoteMarks);
      }),
      RUNS,
    );
  });

  it("leaves alone what fits", () => {
    fc.assert(
      fc.property(documents, fc.constantFrom("markdown" as const, "text" as const), ({ source }, format) => {
        for (const { text } of splitText(source, { title: "标题", format })) {
          expect(splitText(text, { title: "标题", format })).toEqual([{ title: "标题", text }]);
        }
        if (source.length <= PART_LIMITS.characters) {
          expect(splitText(source, { title: "t", format })).toEqual([{ title: "t", text: source }]);
        }
      }),
      RUNS,
    );
  });

  it("takes any string at all", () => {
    const strings = fc.array(
      fc.constantFrom(
        "```",
        "~~~",
        "\n",
        "\n\n",
        "> ",
        "- ",
        "1. ",
        "    ",
        "|",
        "-|-",
        "`",
        "*",
        "[",
        "](",
        "<div>",
        "<!--",
        "#",
        "\t",
        "字",
        "a b",
        "👨‍👩‍👧‍👦",
        "\ud83d",
        "\u0000",
        "\r",
        "x".repeat(150),
        "\uFEFF",
        "\u0301",
      ),
      { maxLength: 150 },
    );
    fc.assert(
      fc.property(strings, limits, fc.constantFrom("markdown" as const, "text" as const), (tokens, limit, format) => {
        const source = tokens.join("");
        const parts = splitText(source, { title: "t", format, limits: limit });
        expectWithin(parts, limit);
        const letters = (text: string): string => text.replace(/[^x字a👨👩👧👦b]/gu, "");
        expect(letters(parts.map(({ text }) => text).join(""))).toContain(letters(source).slice(0, 100));
        if (source.isWellFormed()) for (const { text } of parts) expect(text.isWellFormed()).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("splitting plain text", () => {
  it("keeps the limits, loses only white space at the cuts, and cuts no grapheme", () => {
    fc.assert(
      fc.property(documents, limits, ({ source }, limit) => {
        const parts = splitText(source, { title: "", format: "text", limits: limit });
        expectWithin(parts, limit);
        let at = 0;
        const segments = graphemes.segment(source);
        for (const { text } of parts) {
          const start = source.indexOf(text, at);
          expect(source.slice(at, start).trim()).toBe("");
          at = start + text.length;
          expect(segments.containing(start)?.index).toBe(start);
          if (at < source.length) expect(segments.containing(at)?.index).toBe(at);
        }
        expect(source.slice(at).trim()).toBe("");
      }),
      RUNS,
    );
  });
});
