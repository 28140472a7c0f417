import { describe, expect, it } from "vitest";
import { NOTICES, aboutFile } from "../../src/domain/notices.ts";
import { SCHEMA } from "../../src/config-schema.ts";

const kinds = Object.entries(NOTICES);

describe("the bridge's own lines", () => {
  it.each(kinds)("%s is said in both languages, in plain text", (_kind, { "zh-CN": chinese, en }) => {
    // In brackets: what stands below an answer.
    expect(chinese).toMatch(/^(?:\p{Script=Han}[\p{Script=Han}，。、]+。|（\p{Script=Han}+）)$/u);
    expect(en).toMatch(/^(?:[A-Z][\x20-\x7e]+\.|\([A-Z][\x20-\x7e]+\.\))$/);
    for (const text of [chinese, en]) {
      expect(text).not.toMatch(/[`*_#<>{}|]|https?:/);
      expect(text.length).toBeLessThanOrEqual(130);
    }
  });

  it("name the file they are about, cut where it is long", () => {
    expect(aboutFile("行。", "报告.pdf")).toBe("行。\n报告.pdf");
    expect(aboutFile("行。", `${"a".repeat(79)}👍.pdf`)).toBe(`行。\n${"a".repeat(79)}…`);
  });

  it("differ, and each can be switched off", () => {
    const texts = kinds.flatMap(([, { "zh-CN": chinese, en }]) => [chinese, en]);
    expect(new Set(texts).size).toBe(texts.length);
    const switches = Object.entries(SCHEMA.notices).filter(([, { format }]) => format === "switch");
    expect(switches.map(([name]) => name).toSorted()).toEqual(kinds.map(([kind]) => kind).toSorted());
  });
});
