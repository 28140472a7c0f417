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
        const parts = splitText(text, { title: "标题", format: "text" });
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
    for (const { text } of splitText(family.repeat(1_000), { title: "t", format: "text" }))
      expect(text.length % family.length).toBe(0);
  });

  it("prefers the end of a paragraph", () => {
    const paragraph = "一二三四五。".repeat(300);
    const parts = splitText([paragraph, paragraph, paragraph].join("\n\n"), { title: "t", format: "text" });
    expect(parts.map(({ text }) => text)).toEqual([paragraph, paragraph, paragraph]);
  });

  it("leaves a short text alone", () => {
    for (const text of ["short", "", "\n", "  a\r\n\t```\n"]) {
      for (const format of ["text", "markdown"] as const) {
        expect(splitText(text, { title: "t", format })).toEqual([{ title: "t", text }]);
      }
    }
  });

  it("makes one part of white space, however much", () => {
    expect(splitText(" \n".repeat(5_000), { title: "t", format: "text" })).toEqual([{ title: "t", text: "" }]);
    expect(splitText(" \n".repeat(5_000), { title: "t", format: "markdown" })).toEqual([{ title: "t", text: "" }]);
  });

  it("knows no Markdown in plain text, and keeps the indentation of lines", () => {
    const limits = { characters: 30, jsonBytes: 1_000 };
    const text = "```\nfirst line of it\n    second line\n# third line\n```";
    expect(splitText(text, { title: "", format: "text", limits }).map((part) => part.text)).toEqual([
      "```\nfirst line of it",
      "    second line\n# third line",
      "```",
    ]);
  });

  it("counts what JSON makes of a text", () => {
    const parts = splitText('"'.repeat(3_000) + "\u0001".repeat(3_000), { title: "t", format: "text" });
    for (const part of parts)
      expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(PART_LIMITS.jsonBytes);
    expect(parts.map((part) => part.text).join("")).toHaveLength(6_000);
  });

  it("shortens a title that would take more than half of a part, and no other", () => {
    const title = "标题👨‍👩‍👧‍👦".repeat(1_000);
    const parts = splitText("字".repeat(5_000), { title, format: "markdown" });
    for (const part of parts) {
      expect(title.startsWith(part.title)).toBe(true);
      expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(PART_LIMITS.jsonBytes);
    }
    expect(parts.map((part) => part.text).join("")).toHaveLength(5_000);
    const long = "标题".repeat(1_000);
    expect(splitText("字".repeat(5_000), { title: long, format: "markdown" })[0]?.title).toBe(long);
    expect(splitText("short", { title: long, format: "markdown" })).toEqual([{ title: long, text: "short" }]);
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
    ["标题\r\n正文", "标题"],
    ["[".repeat(100_000), "[".repeat(40)],
    [`${"a".repeat(999)}👩`, "a".repeat(40)],
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
