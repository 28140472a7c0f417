import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PART_LIMITS, splitText, titleOf } from "../../src/domain/text.ts";

const words = fc.constantFrom(
  "你好",
  "word",
  " ",
  "\n",
  "\n\n",
  "。",
  "👨‍👩‍👧‍👦",
  "é",
  "\\",
  '"',
  "🇨🇳",
  "a".repeat(300),
  "字".repeat(200),
);
const texts = fc.array(words, { maxLength: 400 }).map((parts) => parts.join(""));

describe("splitText", () => {
  it("keeps every part within both limits and loses nothing but line breaks at the seams", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const parts = splitText(text, "标题");
        for (const part of parts) {
          expect(part.text.length).toBeLessThanOrEqual(PART_LIMITS.characters);
          expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(PART_LIMITS.jsonBytes);
        }
        const bare = (value: string) => value.replaceAll("\n", "");
        expect(bare(parts.map((part) => part.text).join(""))).toBe(bare(text));
      }),
      { numRuns: 300 },
    );
  });

  it("never cuts inside a grapheme", () => {
    const family = "👨‍👩‍👧‍👦";
    for (const { text } of splitText(family.repeat(1_000), "t")) expect(text.length % family.length).toBe(0);
  });

  it("prefers the end of a paragraph", () => {
    const paragraph = "一二三四五。".repeat(300);
    const parts = splitText([paragraph, paragraph, paragraph].join("\n\n"), "t");
    expect(parts.map(({ text }) => text)).toEqual([paragraph, paragraph, paragraph]);
  });

  it("leaves a short text alone", () => {
    expect(splitText("short", "t")).toEqual([{ title: "t", text: "short" }]);
  });
});

describe("titleOf", () => {
  it.each([
    ["# 今日总结\n正文", "今日总结"],
    ["**粗体** 与 `代码`", "粗体 与 代码"],
    ["\n\n> 引用", "引用"],
    ["[链接](https://example.com) 之后", "链接 之后"],
    ["", "…"],
    ["---\n\n1. 第一", "第一"],
  ])("%j is called %j", (text, title) => expect(titleOf(text)).toBe(title));

  it("has at most 40 graphemes and is never empty", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const length = [...new Intl.Segmenter().segment(titleOf(text))].length;
        expect(length).toBeGreaterThan(0);
        expect(length).toBeLessThanOrEqual(40);
      }),
    );
  });
});
