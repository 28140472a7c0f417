import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { plainTextOf } from "../../src/domain/card-plain.ts";
import { cardSummary, renderForCard, renderForMessage } from "../../src/domain/card-text.ts";

const FOLDER = new URL("../fixtures/rendering/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, FOLDER), "utf8");
const CASES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".in.txt"))
  .map((name) => name.slice(0, -".in.txt".length));

describe("the files of test/fixtures/rendering", () => {
  it.each(CASES)("%s in a card", (name) =>
    expect(renderForCard(read(`${name}.in.txt`))).toBe(read(`${name}.card.txt`)),
  );
  it.each(CASES)("%s in a message", (name) =>
    expect(renderForMessage(read(`${name}.in.txt`))).toBe(read(`${name}.message.txt`)),
  );
  it.each(CASES)("%s as text", (name) => expect(plainTextOf(read(`${name}.in.txt`))).toBe(read(`${name}.plain.txt`)));
  it("are all there", () => expect(CASES.length).toBeGreaterThanOrEqual(10));
});

describe("line endings", () => {
  it("of Windows stay, and are breaks too", () => {
    const text = "一\r\n二\r\n\r\n```\r\na\r\n";
    expect(renderForCard(text)).toBe("一<br>二\r\n\r\n```\r\na\r\n```");
    expect(renderForMessage(text)).toBe("一  \r\n二\r\n\r\n```\r\na\r\n```");
  });
});

describe("a line that is not what it looks like", () => {
  it.each([
    ["```\n    ```\n一\n二\n```", "```\n    ```\n一\n二\n```"],
    ["一\n*\n二", "一<br>*<br>二"],
    ["一\n2. 二", "一<br>2. 二"],
    ["一\n    二", "一<br>二"],
    ["一\\\\\n二", "一\\\\<br>二"],
    ["> 一\n===", "> 一<br>==="],
    ["一 | 二\n三\n--|--", "一 | 二<br>三<br>--|--"],
    ["-\t一\n\n\t二\n\t三", "-\t一\n\n\t二<br>三"],
    ["`<b>", "`&lt;b>"],
  ])("%j", (text, shown) => expect(renderForCard(text)).toBe(shown));
});

describe("a card while its text is being written", () => {
  it.each([
    ["一 **粗", "一 **粗**"],
    ["一 **粗*", "一 **粗**"],
    ["一 **粗**", "一 **粗**"],
    ["一 **", "一 "],
    ["一 *", "一 "],
    ["一 `代码", "一 `代码`"],
    ["一 `", "一 "],
    ["- 一 **粗", "- 一 **粗**"],
    ["## 一 **粗", "## 一 **粗**"],
    ["> 一\n> **粗", "> 一<br>**粗**"],
    ["2 ** 3", "2 ** 3"],
    ["`**` 一", "`**` 一"],
    ["\\*\\*一", "\\*\\*一"],
    ["一\n| a | b |", "一\n\n| a | b |"],
    ["一\n| a | b |\n|-", "一\n\n| a | b |\n| --- | --- |"],
    ["一\n| a | b |\n|---|---|\n| 1", "一\n\n| a | b |\n| --- | --- |\n| 1"],
    ["```js\nconst a = `**", "```js\nconst a = `**\n```"],
    ["- 一\n\n  ```js\n  a\n", "- 一\n\n  ```js\n  a\n  ```"],
    ["> ```\n> a", "> ```\n> a\n> ```"],
  ])("%j shows as %j", (text, shown) => expect(renderForCard(text, { writing: true })).toBe(shown));

  it("closes nothing but fences when it is done", () => {
    expect(renderForCard("5 **3")).toBe("5 **3");
    expect(renderForCard("it`s\n")).toBe("it`s\n");
  });
});

describe("cardSummary", () => {
  it.each([
    ["# 今日**总结**\n正文", undefined, "今日总结"],
    ["```js\nconst a = 1;\n```", undefined, "const a = 1;"],
    ['<font color="#f00">红</font><br>二', undefined, "红"],
    ["一", "客服", "客服: 一"],
    ["一", " ", "一"],
    ["字".repeat(100), "客服", `客服: ${"字".repeat(36)}`],
    ["", undefined, "…"],
  ])("of %j for %j is %j", (text, label, summary) => expect(cardSummary(text, label)).toBe(summary));
});
