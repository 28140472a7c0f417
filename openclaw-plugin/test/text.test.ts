import { expect, test } from "vitest";
import { contentOf, quotedText, textForAgent } from "../src/text.ts";

const message = {
  sentAt: 0,
  conversation: { kind: "direct", id: "cid" },
  sender: { id: "s" },
  mentioned: true,
} as const;

test("what is neither text nor a file that is there becomes a note", () => {
  const picture = { type: "image", media: { id: "m_1" } };
  const gone = { type: "file", media: { id: "m_2", fileName: "a.pdf" } };
  const parts = [{ type: "text", text: "look" }, picture, gone, { type: "sticker" }];
  expect(textForAgent({ ...message, text: "look", parts }, new Map([[gone, "it is too large"]]))).toBe(
    "look\n[file: a.pdf, not available: it is too large]\n[sticker]",
  );
  expect(textForAgent({ ...message, text: "", parts: [picture] })).toBe("");
});

test("a quote of which only the id is known has no text", () => {
  expect(quotedText({ messageId: "m", text: "", parts: [] })).toBeUndefined();
  expect(quotedText({ text: "原文", parts: [{ type: "image" }] })).toBe("原文\n[image]");
});

test.for([
  ["plain words", "text"],
  ["two lines\nof words, 3 * 4 = 12, snake_case_name and a # in the middle", "text"],
  ["1.5 is a number, - is a dash", "text"],
  ["a **bold** word", "markdown"],
  ["`code`", "markdown"],
  ["# Title", "markdown"],
  ["list:\n- one\n- two", "markdown"],
  ["1. one", "markdown"],
  ["> quoted", "markdown"],
  ["[docs](https://example.com)", "markdown"],
  ["| a | b |\n| - | - |", "markdown"],
] as const)("%j is sent as %s", ([text, type]) => {
  expect(contentOf(text)).toEqual({ type, text });
});
