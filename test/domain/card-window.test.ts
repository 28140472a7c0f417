import fc from "fast-check";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { describe, expect, it } from "vitest";
import { renderForCard } from "../../src/domain/card-text.ts";
import { CARD_LIMITS, CardWindow, splitForCard } from "../../src/domain/card-window.ts";
import { jsonBytesOf } from "../../src/domain/split-ruler.ts";
import { documents } from "./split-documents.ts";
import { slicesOf } from "./split-oracle.ts";

const join = (...lines: string[]): string => lines.join("\n");

interface Node {
  type: string;
  value?: string;
  children?: Node[];
}

function* codeIn(node: Node): Generator<string> {
  if (node.type === "code") yield node.value ?? "";
  for (const child of node.children ?? []) yield* codeIn(child);
}

const codeMarksOf = (text: string): string[] => {
  const tree: Node = fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });
  return [...codeIn(tree)].flatMap((code) => code.match(/c\d+x/g) ?? []);
};

describe("splitForCard", () => {
  it("leaves a text alone that fits", () => {
    const text = "字".repeat(3_000);
    expect(splitForCard(text)).toEqual({ head: text, rest: "" });
    const { head, rest } = splitForCard(`${text}字`);
    expect(head + rest).toBe(`${text}字`);
    expect(head.length).toBeGreaterThan(2_900);
  });

  it("cuts behind a block", () => {
    const paragraph = "一二三四五六。";
    expect(splitForCard(join(paragraph, "", paragraph, "", "## 标题", "", paragraph), 24)).toEqual({
      head: join(paragraph, "", paragraph),
      rest: join("## 标题", "", paragraph),
    });
  });

  it("opens a fence of more than half a card again", () => {
    const lines = Array.from({ length: 12 }, (_, index) => `line ${index + 10}`);
    const { head, rest } = splitForCard(join("Look:", "", "```js", ...lines, "```", "", "End."), 60);
    expect(head).toBe(join("Look:", "", "```js", ...lines.slice(0, 5), "```"));
    expect(rest).toBe(join("```js", ...lines.slice(5), "```", "", "End."));
  });

  it("repeats the header of a table", () => {
    const rows = Array.from({ length: 9 }, (_, index) => `| ${index} | 值 |`);
    const { head, rest } = splitForCard(join("| a | b |", "|---|---|", ...rows), 60);
    expect(head).toBe(join("| a | b |", "|---|---|", ...rows.slice(0, 4)));
    expect(rest).toBe(join("| a | b |", "|---|---|", ...rows.slice(4)));
  });

  it("takes no half of a closing fence for a line of code", () => {
    const code = join("```", "123456789", "123456789", "123456789", "```");
    for (let limit = 30; limit < code.length; limit += 1) {
      const { head, rest } = splitForCard(join(code, "", "一段很长的话，一段很长的话，一段很长的话。"), limit);
      expect(head).toBe(join("```", "123456789", "123456789", "```"));
      expect(rest).toMatch(/^```\n123456789\n```\n\n一/);
    }
  });

  it("takes the margin of a list item away, also of lines that came later", () => {
    const item = join("10. 步骤", "", "    一段话。", "", "    另一段话，很长很长很长。");
    const { head, rest } = splitForCard(join(item, "", "    ```sh", "    ls", "    ```", "    完。", "11. 下一步"), 30);
    expect(head).toBe(join("10. 步骤", "", "    一段话。"));
    expect(rest).toBe(join("另一段话，很长很长很长。", "", "```sh", "ls", "```", "完。", "", "11. 下一步"));
  });

  it("counts what rendering makes of a text", () => {
    for (const text of ["|".repeat(9_000), "<b".repeat(9_000), "字\n".repeat(9_000), "\u0001".repeat(9_000)]) {
      const { head } = splitForCard(text, 8_000);
      expect(jsonBytesOf(renderForCard(head))).toBeLessThanOrEqual(CARD_LIMITS.jsonBytes);
      expect(head.length).toBeGreaterThan(1_000);
    }
  });
});

describe("splitForCard, of a text of many lines", () => {
  const lines = (count: number): string => Array.from({ length: count }, () => "一行很短的字。").join("\n");

  it("keeps a card from being blank: line breaks are longer than newlines", () => {
    const { head, rest } = splitForCard(lines(370));
    expect(lines(370).length).toBeLessThan(CARD_LIMITS.characters);
    expect(renderForCard(lines(370)).length).toBeGreaterThan(CARD_LIMITS.characters);
    expect(renderForCard(head).length).toBeLessThanOrEqual(CARD_LIMITS.characters);
    expect(renderForCard(head).length).toBeGreaterThan(CARD_LIMITS.characters / 2);
    expect(rest).not.toBe("");
  });

  it("decides by the beginning alone, wherever it ends for now", () => {
    const text = `${lines(200)}\n\n| a | b |\n|--|--|\n|1|2|\n\n${lines(300)}`;
    const final = splitForCard(text);
    const heads = new Set<string>();
    // By characters where it is decided.
    for (let end = 2_000; end <= text.length; end += end < 2_400 ? 1 : 100) {
      const { head, rest } = splitForCard(text.slice(0, end));
      if (rest !== "") heads.add(head);
    }
    expect([...heads]).toEqual([final.head]);
  });

  it("lets somebody who knows their client have more", () => {
    expect(splitForCard(lines(370), 5_000).rest).toBe("");
  });
});

describe("splitForCard, whatever the text", () => {
  const limits = fc.constantFrom(200, 500, 1_500);

  it("keeps the limit, says everything once and leaves code in code", () => {
    fc.assert(
      fc.property(documents, limits, ({ source, codeMarks }, limit) => {
        const { head, rest } = splitForCard(source, limit);
        expect(head.length).toBeLessThanOrEqual(limit);
        expect(slicesOf(source, rest === "" ? [head] : [head, rest])).toBeDefined();
        expect([...new Set([...codeMarksOf(head), ...codeMarksOf(rest)])]).toEqual(codeMarks);
        if (source.length <= limit) expect(rest).toBe("");
        else expect(head.length).toBeGreaterThan(0);
      }),
      { numRuns: 100 },
    );
  });

  it("decides by the beginning alone, in whatever pieces it comes", () => {
    fc.assert(
      fc.property(documents, limits, fc.array(fc.nat(200), { maxLength: 40 }), ({ source }, limit, steps) => {
        const window = new CardWindow({ limit });
        let end = 0;
        let closed: string | undefined;
        for (const step of steps) {
          end += step;
          const text = source.slice(0, end);
          const seen = window.push(text);
          if (closed === undefined && !seen.closed) expect(text.endsWith(seen.shown)).toBe(true);
          if (closed !== undefined) expect(seen).toEqual({ shown: closed, closed: true });
          if (seen.closed) closed = seen.shown;
        }
        const { shown, rest, replaced } = window.finish(source);
        expect({ head: shown, rest }).toEqual(splitForCard(source, limit));
        expect(replaced).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  it("takes any string at all", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.integer({ min: 1, max: 40 }), (source, limit) => {
        const { head, rest } = splitForCard(source, limit);
        const bare = (text: string): string => text.replaceAll(/[\s>|`~]/g, "");
        expect(bare(head + rest)).toContain(bare(source).slice(0, 10));
        if (source.trim() !== "") expect(head).not.toBe("");
      }),
      { numRuns: 500 },
    );
  });
});

describe("CardWindow", () => {
  const one = "一二三四五六七。";
  const text = join(one, "", one, "", one, "", one);

  it("shows a text that fits, as it grows and as it is rewritten", () => {
    const window = new CardWindow({ limit: 20 });
    expect(window.push("\n\n")).toEqual({ shown: "", closed: false });
    expect(window.push("\n一")).toEqual({ shown: "一", closed: false });
    expect(window.push(one)).toEqual({ shown: one, closed: false });
    expect(window.finish("二")).toEqual({ shown: "二", rest: "", replaced: false });
  });

  it("goes on with the rest of a final text that begins like what was streamed", () => {
    const window = new CardWindow({ limit: 20 });
    const head = join(one, "", one);
    expect(window.push(text.slice(0, 25))).toEqual({ shown: head, closed: true });
    expect(window.push("别的")).toEqual({ shown: head, closed: true });
    expect(window.finish(join(one, "", one, "", "改写。"))).toEqual({ shown: head, rest: "改写。", replaced: false });
    expect(window.finish(head)).toEqual({ shown: head, rest: "", replaced: false });
  });

  it("replaces its text when the final one begins in another way", () => {
    const window = new CardWindow({ limit: 20 });
    window.push(text);
    expect(window.finish("改写了。")).toEqual({ shown: "改写了。", rest: "", replaced: true });
    expect(window.finish(`改${text}`)).toEqual({ ...rename(splitForCard(`改${text}`, 20)), replaced: true });
  });

  it("takes the last text for an empty final one", () => {
    const window = new CardWindow({ limit: 20 });
    window.push(text);
    expect(window.finish("")).toEqual({ ...rename(splitForCard(text, 20)), replaced: false });
    expect(new CardWindow().finish("")).toEqual({ shown: "", rest: "", replaced: false });
  });

  it("closes at the end what was never pushed", () => {
    expect(new CardWindow({ limit: 20 }).finish(text)).toEqual({ ...rename(splitForCard(text, 20)), replaced: false });
  });
});

const rename = ({ head, rest }: { head: string; rest: string }): { shown: string; rest: string } => ({
  shown: head,
  rest,
});
