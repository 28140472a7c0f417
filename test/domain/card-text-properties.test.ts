import fc from "fast-check";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { describe, expect, it } from "vitest";
import { plainTextOf } from "../../src/domain/card-plain.ts";
import { renderForCard, renderForMessage } from "../../src/domain/card-text.ts";
import { splitText } from "../../src/domain/text.ts";
import { documents as anyDocuments } from "./split-documents.ts";

interface Node {
  type: string;
  value?: string;
  children?: Node[];
  position?: { start: { offset?: number | undefined }; end: { offset?: number | undefined } } | undefined;
}

/** GFM takes the backtick behind a bare address for a part of it; whether clients do is not known. */
const documents = anyDocuments.filter(({ source }) => source.length <= 6_000 && !/https?:\/\/[^\s<)]*`/.test(source));

const parse = (text: string): Node => fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });

function* nodesOf(node: Node, ...types: string[]): Generator<Node> {
  if (types.includes(node.type)) yield node;
  for (const child of node.children ?? []) yield* nodesOf(child, ...types);
}

const rangeOf = (node: Node): { start: number; end: number } => ({
  start: node.position?.start.offset ?? 0,
  end: node.position?.end.offset ?? 0,
});

/** Every piece of code, in order. */
const codeOf = (text: string): (string | undefined)[] =>
  [...nodesOf(parse(text), "code", "inlineCode")].map(({ value }) => value);

/** What blocks there are, without paragraphs' contents. */
function shapeOf(node: Node): unknown {
  const children = (node.children ?? []).filter(({ type }) => type !== "break");
  if (["paragraph", "heading", "tableRow", "html", "code", "definition"].includes(node.type)) return node.type;
  return [node.type, ...children.map((child) => shapeOf(child))];
}

const lettersOf = (text: string): string => text.replace(/[^\p{L}\p{N}]/gu, "");

/** Offsets of the line ends inside paragraphs, outside code spans. */
function breaksOf(source: string): Set<number> {
  const breaks = new Set<number>();
  for (const paragraph of nodesOf(parse(source), "paragraph")) {
    const { start, end } = rangeOf(paragraph);
    const code = [...nodesOf(paragraph, "inlineCode")].map((node) => rangeOf(node));
    for (const { index } of source.slice(start, end).matchAll(/\r\n|\n|\r/g)) {
      const at = start + index;
      if (!code.some((range) => range.start < at && at < range.end)) breaks.add(at);
    }
  }
  return breaks;
}

/** A text that needs nothing but breaks: breaks of a rendered message stand where the source has line ends. */
function breaksMade(source: string, rendered: string): Set<number> {
  const made = new Set<number>();
  const theirs = rendered.split(/\r\n|\n|\r/);
  let line = 0;
  for (const { index } of `${source}\n`.matchAll(/\r\n|\n|\r/g)) {
    const ours = source.slice(
      Math.max(source.lastIndexOf("\n", index - 1), source.lastIndexOf("\r", index - 1)) + 1,
      index,
    );
    while (theirs[line] !== undefined && theirs[line]?.trimEnd() !== ours.replace(/\\$/, "").trimEnd()) line += 1;
    if (/ {2}$/.test(theirs[line] ?? "")) made.add(index);
    line += 1;
  }
  return made;
}

const TOKENS = fc
  .array(
    fc.constantFrom(
      ..."```|~~~|\n|\n\n|\r\n|> |- |1. |2) |    |\t|`|``|*|**|_|[|](|)|<div>|<b>|<!--|-->|<br>|#|####### |---|===|\\|&lt;|字|a b|x".split(
        "|",
      ),
      "|",
      "|-|-|",
      "| a | b |\n|---|---|\n",
      "👨‍👩‍👧‍👦",
      "\ud83d",
      "\uFEFF",
      "\u0000",
    ),
    { maxLength: 60 },
  )
  .map((tokens) => tokens.join(""));

const RUNS = { numRuns: 150 };

describe("rendering a message", () => {
  it("puts breaks exactly where the syntax tree has line ends in paragraphs", () => {
    fc.assert(
      fc.property(documents, ({ source }) => {
        expect(breaksMade(source, renderForMessage(source))).toEqual(breaksOf(source));
      }),
      RUNS,
    );
  });

  it("changes no block and no word", () => {
    fc.assert(
      fc.property(documents, ({ source }) => {
        const rendered = renderForMessage(source);
        expect(shapeOf(parse(rendered))).toEqual(shapeOf(parse(source)));
        expect(codeOf(rendered)).toEqual(codeOf(source));
        expect(lettersOf(rendered)).toBe(lettersOf(source));
      }),
      RUNS,
    );
  });

  it("leaves alone what is rendered", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          documents.map(({ source }) => source),
          TOKENS,
        ),
        (source) => {
          const rendered = renderForMessage(source);
          expect(renderForMessage(rendered)).toBe(rendered);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("goes before splitting: the parts need no breaks", () => {
    const lines = (text: string): string[] => text.split(/\r\n|\n|\r/).filter((line) => !/^[\s>]*$/.test(line));
    fc.assert(
      fc.property(documents, ({ source }) => {
        const limits = { characters: 900, jsonBytes: 14_000 };
        for (const { text } of splitText(renderForMessage(source), { title: "", format: "markdown", limits })) {
          expect(lines(renderForMessage(text))).toEqual(lines(text));
        }
      }),
      RUNS,
    );
  });
});

describe("rendering a card", () => {
  it("leaves no line end in a paragraph but in code, and changes no code and no word", () => {
    fc.assert(
      fc.property(documents, ({ source }) => {
        const rendered = renderForCard(source);
        expect([...breaksOf(rendered)]).toEqual([]);
        expect(codeOf(rendered)).toEqual(codeOf(source));
        const bare = (text: string): string => lettersOf(text.replaceAll(/<br>|&lt;/g, " "));
        expect(bare(rendered)).toBe(bare(source));
      }),
      RUNS,
    );
  });

  it.each([
    ["takes seven marks without words for a heading", "####### #\n    <b>", "###### #\n    <b>"],
    ["makes no code of a table", "a\n    | b | c |\n|---|---|\n", "a\n\n| b | c |\n| --- | --- |\n"],
  ])("%s", (_name, source, rendered) => {
    expect(renderForCard(source)).toBe(rendered);
  });

  it("leaves alone what is rendered", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          documents.map(({ source }) => source),
          TOKENS,
        ),
        (source) => {
          const rendered = renderForCard(source);
          expect(renderForCard(rendered)).toBe(rendered);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("has no tag but those that cards know, outside code", () => {
    fc.assert(
      fc.property(TOKENS, (source) => {
        // A backtick in the address of a link is none of code for the parser; what may be code is left alone here.
        fc.pre(!source.includes("](<") && !/\]\([^\s)]*`/.test(source));
        // For the parser a line that begins with a tag ends the code span around it; no tag begins a block in a card.
        fc.pre(!source.includes("`") || !/^[\s>]*</m.test(source));
        for (const node of nodesOf(parse(renderForCard(source)), "html")) {
          expect(node.value).toMatch(/^(?:<br>)+/);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("shows finished blocks the same, whatever is written after them", () => {
    fc.assert(
      fc.property(documents, fc.double({ min: 0, max: 1, noNaN: true }), ({ source }, share) => {
        const prefix = source.slice(0, Math.floor(source.length * share));
        const last = parse(prefix).children?.at(-1);
        const done = renderForCard(prefix.slice(0, last ? rangeOf(last).start : 0)).trimEnd();
        for (const text of [prefix, source]) {
          expect(renderForCard(text, { writing: true }).startsWith(done)).toBe(true);
        }
        const code = [...nodesOf(parse(prefix), "code")].map(({ value }) => value);
        const shown = [...nodesOf(parse(renderForCard(prefix, { writing: true })), "code")].map(({ value }) => value);
        expect(shown.map((value) => value?.trimEnd())).toEqual(code.map((value) => value?.trimEnd()));
      }),
      { numRuns: 300 },
    );
  });

  it("takes every beginning of any string", () => {
    fc.assert(
      fc.property(TOKENS, (source) => {
        for (let end = 0; end <= source.length; end += 1) {
          const shown = renderForCard(source.slice(0, end), { writing: true });
          expect(shown.length).toBeLessThanOrEqual(end * 5 + 400);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe("plain text", () => {
  it("keeps every word and every line of code", () => {
    fc.assert(
      fc.property(documents, ({ source }) => {
        const text = plainTextOf(source);
        for (const { value = "" } of nodesOf(parse(source), "code")) {
          for (const line of value.split("\n")) expect(text).toContain(line.trim());
        }
        const words = (input: string): string =>
          lettersOf(input.replaceAll(/^[ \t>]*(?:`{3,}|~{3,}).*/gm, "").replaceAll(/&(?:amp|lt);/g, ""));
        expect(words(text)).toBe(words(source));
        expect(text).not.toContain("**");
        expect(text).not.toMatch(/^(?:`{3}|~{3}|#{1,6} 标题)/m);
      }),
      RUNS,
    );
  });

  it("takes any string at all", () => {
    fc.assert(
      fc.property(TOKENS, (source) => {
        const letters = (text: string): string => text.replace(/[^x字ab👨👩👧👦]/gu, "");
        expect(letters(plainTextOf(source)).length).toBeGreaterThanOrEqual(
          letters(source.replace(/<br>|<b>|-->|<div>|[`~][^\n]*|\]\([^\n]*/g, "")).length * 0.5,
        );
      }),
      { numRuns: 500 },
    );
  });
});

/** Each of them takes a parser or a pattern minutes when it looks twice. */
const upTo = (length: number, piece: string): string => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
const HOSTILE = [
  ...[
    ">",
    "[",
    "*a",
    "**a",
    "- ",
    "`",
    "`a``b",
    "[a](b",
    "<!--",
    "<a:",
    "<a ",
    "|",
    "\\",
    "a\n",
    "<b\n",
    "`\n",
    "> - ",
  ].map((piece): [string, string] => [JSON.stringify(piece), upTo(200_000, piece)]),
  ["spaces", `a${" ".repeat(200_000)}b`] as [string, string],
  ["line ends", `a${"\n".repeat(200_000)}b`] as [string, string],
  ["deep lists", Array.from({ length: 450 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n")] as [string, string],
  ["a table", `| a | b |\n|---|---|\n${upTo(200_000, "| one | **two** |\n")}`] as [string, string],
];

describe("hostile texts", () => {
  it.each(HOSTILE)("200,000 characters of %s", (_, text) => {
    for (const render of [renderForCard, renderForMessage, plainTextOf]) expect(render(text)).not.toBe("");
    expect(renderForCard(text, { writing: true })).not.toBe("");
  });
});
