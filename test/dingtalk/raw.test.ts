import fc from "fast-check";
import { expect, it } from "vitest";
import { rawOf } from "../../src/dingtalk/raw.ts";

const code = "mIof+/JE0E==";

it.each([
  ["in objects and lists", { content: { richText: [{ downloadCode: code, pictureDownloadCode: code, text: "x" }] } }],
  ["in a JSON string", { content: JSON.stringify({ downloadCode: code }) }],
  [
    "in a JSON string in a JSON string",
    { content: JSON.stringify({ chatRecord: JSON.stringify([{ downloadCode: code }]) }) },
  ],
  ["in a string that is broken off", { content: `{"downloadCode":"${code}","x` }],
  ["in a broken string with escaped quotes", { content: `{"a":"{\\"downloadCode\\":\\"${code}\\"` }],
])("removes download codes %s, and nothing else", (_name, body) => {
  const raw = rawOf({ msgId: "m", ...body });
  expect(JSON.stringify(raw)).not.toContain(code);
  expect(JSON.stringify(raw)).toContain("[removed]");
  expect(JSON.stringify(raw).replaceAll("[removed]", code)).toBe(JSON.stringify({ msgId: "m", ...body }));
});

it("leaves words about it alone, and never throws", () => {
  const words = { text: { content: "what is a downloadCode?" } };
  expect(rawOf(words)).toEqual(words);
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (body) => {
      expect(rawOf(body)).toBeTypeOf("object");
    }),
  );
  const deep = `${'{"downloadCode":'.repeat(5_000)}1${"}".repeat(5_000)}`;
  expect(JSON.stringify(rawOf({ content: deep }))).toContain("[removed]");
});
