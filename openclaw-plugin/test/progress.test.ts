import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { progressLine } from "../src/progress.ts";

describe("what a tool does, in a few words", () => {
  test.each([
    ["exec", { command: "cat /etc/passwd" }, "🛠️ exec"],
    ["web_search", { query: "weather\n in Hangzhou" }, "🛠️ web search: weather in Hangzhou"],
    ["read", { path: "notes.md" }, "🛠️ read: notes.md"],
    ["read", undefined, "🛠️ read"],
  ])("%s %o", (name, args, line) => expect(progressLine(name, args)).toBe(line));

  test("is never too long", () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ unit: "grapheme", maxLength: 400 }), (name, query) => {
        const line = progressLine(name, { query });
        return line.length <= 100 && line.isWellFormed();
      }),
    );
  });
});
