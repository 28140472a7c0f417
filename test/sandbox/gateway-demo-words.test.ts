import { describe, expect, it } from "vitest";
import { askedFor, growingText } from "../../src/sandbox/gateway-demo-words.ts";

describe("the demo's words", () => {
  it.each([
    ["流式", "stream", "zh"],
    ["流式 讲讲天气", "stream", "zh"],
    ["Stream", "stream", "en"],
    ["stream of thoughts", "stream", "en"],
    [" 按钮 ", "buttons", "zh"],
    ["recall", "recall", "en"],
  ])("%s", (text, feature, language) => {
    expect(askedFor(text)).toEqual({ feature, language });
  });

  it.each(["streams", "按钮在哪里", "a card", ""])("are not in %j", (text) => {
    expect(askedFor(text)).toBeUndefined();
  });

  it("grow in some fifty pieces, none of which cuts a letter", () => {
    for (const language of ["zh", "en"] as const) {
      const all = growingText(language);
      expect(all.length).toBeGreaterThan(30);
      expect(all.length).toBeLessThanOrEqual(50);
      expect(all.join("")).toMatch(/^## [\s\S]*- [\s\S]*\| --- \|[\s\S]*```js[\s\S]*[.。]$/);
    }
  });
});
