import { describe, expect, it } from "vitest";
import { PART_LIMITS, splitText } from "../../src/domain/text.ts";

const upTo = (length: number, piece: string): string => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);

/** Each of them took a parser, a pattern or a segmenter seconds to minutes in one of the designs tried. */
const HOSTILE: [string, string][] = [
  ["a megabyte in a line", upTo(1_000_000, "word 你好 ")],
  ["a megabyte without a space", "x".repeat(1_000_000)],
  ["200,000 quote markers", ">".repeat(200_000)],
  ["200,000 brackets", "[".repeat(200_000)],
  ["100,000 asterisks", "*a".repeat(100_000)],
  ["100,000 list markers in a line", "- ".repeat(100_000)],
  ["a list of 450 levels", Array.from({ length: 450 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n")],
  ["a fence of 200,000 backticks", "`".repeat(200_000)],
  ["pairs of backticks", "`a``b".repeat(40_000)],
  ["open links", "[a](b".repeat(40_000)],
  ["open comments", "<!--".repeat(50_000)],
  ["a table of 200,000 characters", `| a | b |\n|---|---|\n${upTo(200_000, "| one | **two** |\n")}`],
  ["a row of 60,000 cells", `| a | b |\n|---|---|\n|${" c |".repeat(60_000)}`],
  ["an item of 200,000 characters", `- item\n${upTo(200_000, "  - nested\n")}`],
  ["200,000 line ends", `a${"\n".repeat(200_000)}b`],
  ["200,000 spaces", `a${" ".repeat(200_000)}b`],
  ["one grapheme of 200,000 characters", `a${"\u0301".repeat(200_000)}`],
  ["200,000 halves of surrogate pairs", "\ud83d".repeat(200_000)],
  ["200,000 control characters", "\u0000".repeat(200_000)],
];

describe("texts that are hard to split", () => {
  it.each(HOSTILE)("%s", (_, text) => {
    for (const format of ["markdown", "text"] as const) {
      const parts = splitText(text, { title: "t", format });
      for (const part of parts) {
        expect(part.text.length).toBeLessThanOrEqual(PART_LIMITS.characters);
        expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(PART_LIMITS.jsonBytes);
      }
      const bare = text.replace(/\s/g, "").length;
      expect(parts.reduce((sum, part) => sum + part.text.replace(/\s/g, "").length, 0)).toBeGreaterThanOrEqual(bare);
    }
  });

  it("cuts a grapheme that is longer than a part between code points", () => {
    const limits = { characters: 11, jsonBytes: 1_000 };
    const grapheme = `👩${"\u200d👩".repeat(10)}`;
    const parts = splitText(grapheme, { title: "", format: "text", limits });
    expect(parts.map(({ text }) => text).join("")).toBe(grapheme);
    for (const { text } of parts) expect(text.isWellFormed()).toBe(true);
  });

  it("comes to an end under limits that nothing can keep", () => {
    const limits = { characters: 1, jsonBytes: 1 };
    const parts = splitText("```\n👩a\n```", { title: "标题", format: "markdown", limits });
    expect(parts.map(({ text }) => text).join("")).toContain("👩");
  });
});
