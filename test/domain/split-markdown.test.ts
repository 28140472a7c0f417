import { describe, expect, it } from "vitest";
import { PART_LIMITS, splitText } from "../../src/domain/text.ts";

/** Parts of at most so many characters. */
function split(text: string, characters: number): string[] {
  const limits = { characters, jsonBytes: 14_000 };
  return splitText(text, { title: "t", format: "markdown", limits }).map((part) => part.text);
}

const join = (...lines: string[]): string => lines.join("\n");

describe("where Markdown is cut", () => {
  it("keeps a heading with what follows it", () => {
    expect(split(join("一二三四五六七八九十", "", "## 标题", "", "一二三四五六七八九十"), 22)).toEqual([
      "一二三四五六七八九十",
      join("## 标题", "", "一二三四五六七八九十"),
    ]);
  });

  it("leaves a heading behind when both do not fit", () => {
    expect(split(join("## 标题", "", "一二三四五六七八九十一二三四五六七八九十"), 22)).toEqual([
      "## 标题",
      "一二三四五六七八九十一二三四五六七八九十",
    ]);
  });

  it("knows headings by their underline", () => {
    expect(split(join("一二三四五六七八九十", "", "标题", "===", "一二三四五六"), 16)).toEqual([
      "一二三四五六七八九十",
      join("标题", "===", "一二三四五六"),
    ]);
  });

  it("cuts a list between its items, not between an item and its own list", () => {
    const list = join("- one", "  - inner", "- two", "  - inner", "- three", "  - inner");
    expect(split(list, 36)).toEqual([join("- one", "  - inner", "- two", "  - inner"), join("- three", "  - inner")]);
  });

  it("goes on with the numbers of an ordered list", () => {
    expect(split(join("1. one", "", "2. two", "", "3. three", "", "4. four"), 20)).toEqual([
      join("1. one", "", "2. two"),
      join("3. three", "", "4. four"),
    ]);
  });

  it("closes a fence and opens it again with its info string", () => {
    const code = join("```js title=x", "const a = 1;", "const b = 2;", "const c = 3;", "```");
    expect(split(code, 45)).toEqual([
      join("```js title=x", "const a = 1;", "const b = 2;", "```"),
      join("```js title=x", "const c = 3;", "```"),
    ]);
  });

  it("keeps a fence whole that fits a part, even if that leaves the part before it short", () => {
    const code = join("```", "123456789", "123456789", "123456789", "```");
    expect(split(join("Look:", "", code), 40)).toEqual(["Look:", code]);
  });

  it("closes a fence that is never closed", () => {
    expect(split(join("Look:", "", "```sh", "echo 1", "echo 2", "echo 3"), 22)).toEqual([
      "Look:",
      join("```sh", "echo 1", "```"),
      join("```sh", "echo 2", "```"),
      join("```sh", "echo 3", "```"),
    ]);
  });

  it("takes no shorter fence, and no text in a fence, for its end", () => {
    const code = join("````", "```", "# no heading", "", "- no item", "```", "````");
    expect(split(join("a", "", code, "", "b"), 44)).toEqual([join("a", "", code), "b"]);
  });

  it("cuts inside a line of code only where it is longer than a part", () => {
    expect(split(join("```", "a", "0123456789 0123456789", "b", "```"), 25)).toEqual([
      join("```", "a", "0123456789 ", "```"),
      join("```", "0123456789", "b", "```"),
    ]);
  });

  it("takes a fence out of a list item that is too long", () => {
    const item = join("10. Step", "", "    ```sh", "    echo 1 2 3", "      echo 2 3 4", "    ```", "11. Next");
    expect(split(item, 52)).toEqual(["10. Step", join("```sh", "echo 1 2 3", "  echo 2 3 4", "```"), "11. Next"]);
  });

  it("opens a fence of a list item again outside of the item", () => {
    const lines = Array.from({ length: 6 }, (_, index) => `  echo ${index}`);
    const item = join("10. Step", "", "    ```sh", ...lines.map((line) => `    ${line}`), "    ```", "11. Next");
    expect(split(item, 60)).toEqual([
      join("10. Step", "", "    ```sh", "      echo 0", "      echo 1", "    ```"),
      join("```sh", ...lines.slice(2, 5), "```"),
      join("```sh", "  echo 5", "```", "", "11. Next"),
    ]);
  });

  it("repeats the header of a table", () => {
    const table = join("| a | b |", "|---|--:|", "| 1 | 2 |", "| 3 | 4 |", "| 5 | 6 |");
    expect(split(table, 42)).toEqual([
      join("| a | b |", "|---|--:|", "| 1 | 2 |", "| 3 | 4 |"),
      join("| a | b |", "|---|--:|", "| 5 | 6 |"),
    ]);
  });

  it("keeps the columns of a row that is longer than a part", () => {
    const between = join("| a | b |", "|---|---|", "| one | two three four five six |");
    expect(split(between, 50)).toEqual([
      join("| a | b |", "|---|---|", "| one"),
      join("| a | b |", "|---|---|", "| | two three four five six |"),
    ]);
    const inside = join("| a | b |", "|---|---|", "| one | two three four five six seven eight nine ten |");
    expect(split(inside, 50)).toEqual([
      join("| a | b |", "|---|---|", "| one"),
      join("| a | b |", "|---|---|", "| | two three four five six"),
      join("| a | b |", "|---|---|", "| | seven eight nine ten |"),
    ]);
  });

  it("keeps quotes quoted", () => {
    expect(split(join("> 第一句话在这里。第二句话在这里。", "> 第三句话在这里。", ">", "> 另一段话。"), 24)).toEqual([
      "> 第一句话在这里。第二句话在这里。",
      join("> 第三句话在这里。", ">", "> 另一段话。"),
    ]);
  });

  it("cuts a paragraph after a sentence, before a word, between graphemes", () => {
    expect(split("第一句话。第二句话。第三句话很长很长。", 12)).toEqual(["第一句话。第二句话。", "第三句话很长很长。"]);
    expect(split("one two three four five six", 15)).toEqual(["one two three", "four five six"]);
    expect(split("👨‍👩‍👧‍👦".repeat(5), 25)).toEqual(["👨‍👩‍👧‍👦".repeat(2), "👨‍👩‍👧‍👦".repeat(2), "👨‍👩‍👧‍👦"]);
  });

  it.each([
    ["a link", "before it some text [the name of it](https://example.com/a) and after"],
    ["code", "before it some text `the code that is in it, here` and after"],
    ["emphasis", "before it some text **what is said very loudly, here** and after"],
    ["an address", "before it some text https://example.com/a/b/c?d=e&f=g and after"],
  ])("does not cut inside %s", (_, text) => {
    expect(split(text, 40)[0]).toBe("before it some text");
  });

  it("does not begin a part with what would become a list, a heading or a quote", () => {
    for (const marker of ["-", "#", ">", "1.", "+"]) {
      const text = `alpha beta gamma delta ${marker} epsilon zeta eta theta`;
      for (let limit = 20; limit < 40; limit += 1) {
        for (const part of split(text, limit)) expect(part.startsWith(marker)).toBe(false);
      }
    }
  });

  it("does not cut between a backslash and what it escapes, nor in a character reference", () => {
    for (let limit = 10; limit < 30; limit += 1) {
      for (const part of split("字字字字字字字字字\\*字字字字字&amp;字字字字字", limit)) {
        expect(part).not.toMatch(/\\$|&[a-z]*$|^\*|^[a-z]*;/);
      }
    }
  });

  it("ends lines as the text does", () => {
    const code = ["```js", "const a = 1;", "const b = 2;", "```"].join("\r\n");
    expect(split(code, 28)).toEqual([
      ["```js", "const a = 1;", "```"].join("\r\n"),
      ["```js", "const b = 2;", "```"].join("\r\n"),
    ]);
  });

  it("leaves raw HTML in one part if it fits", () => {
    const html = join("<details>", "<summary>s</summary>", "# no heading", "</details>");
    expect(split(join("Text.", "", html, "", "Text."), 66)).toEqual([join("Text.", "", html), "Text."]);
    expect(split(join("<!--", "", "hidden", "", "-->", "", "Text that is seen."), 24)).toEqual([
      join("<!--", "", "hidden", "", "-->"),
      "Text that is seen.",
    ]);
  });
});

describe("answers as models give them", () => {
  const intro = "以下是本周的汇总，数据来自三个系统，如有出入以财务系统为准。";
  const code = Array.from(
    { length: 500 },
    (_, index) => `    total_${index} = compute(row[${index}], rate=0.0${index})`,
  );
  const rows = Array.from(
    { length: 200 },
    (_, index) => `| ${index + 1} | 项目 ${index + 1} | 负责人 | 已完成 ${index} % |`,
  );
  const answer = join(
    "# 周报",
    "",
    intro,
    "",
    "## 明细",
    "",
    "| # | 名称 | 谁 | 进度 |",
    "| --- | :-- | --- | --: |",
    ...rows,
    "",
    "## 脚本",
    "",
    "运行下面的脚本：",
    "```python",
    "def main(rows):",
    ...code,
    "```",
    "",
    "## 下一步",
    "",
    ...Array.from(
      { length: 60 },
      (_, index) => `${index + 1}. **第 ${index + 1} 步**：${intro}\n   - 细节 \`x${index}\``,
    ),
  );
  const parts = splitText(answer, { title: "周报", format: "markdown" }).map(({ text }) => text);

  it("fills parts well", () => {
    expect(parts.length).toBeLessThan(answer.length / (PART_LIMITS.characters * 0.85) + 1);
  });

  it("gives 200 rows their header in every part", () => {
    const withRows = parts.filter((part) => /^\| \d+ \|/m.test(part));
    expect(withRows.length).toBeGreaterThan(1);
    for (const part of withRows) expect(part).toContain("| # | 名称 | 谁 | 进度 |\n| --- | :-- | --- | --: |\n| ");
    expect(withRows.join("\n").match(/^\| \d+ \|.*$/gm)).toEqual(rows);
  });

  it("closes and opens 500 lines of Python", () => {
    const withCode = parts.filter((part) => part.includes("compute("));
    expect(withCode.length).toBeGreaterThan(5);
    for (const part of withCode) expect(part.match(/^```/gm)).toHaveLength(2);
    for (const part of withCode.slice(1)) expect(part).toMatch(/^```python\n {4}total_/);
    expect(withCode.join("\n").match(/^ {4}total_.*$/gm)).toEqual(code);
  });

  it("begins later parts of the list with an item", () => {
    const steps = parts.filter((part) => part.includes("**第 "));
    expect(steps.length).toBeGreaterThan(0);
    expect(parts.at(-1)).toMatch(/^\d+\. \*\*第|^## 下一步/);
    expect(steps.join("\n").match(/^\d+\. /gm)).toHaveLength(60);
  });
});
