import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SentMessage, UploadedFile } from "../../src/sandbox/dingtalk-types.ts";
import { wordsOf } from "../../src/sandbox/terminal-files.ts";
import { messageText } from "../../src/sandbox/terminal-show.ts";
import { harmless, headOf, sizeText, tailOf, widthOf } from "../../src/sandbox/terminal-text.ts";

describe("sizes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1_000, "1 kB"],
    [1_540, "1.5 kB"],
    [9_949, "9.9 kB"],
    [9_951, "10 kB"],
    [12_345, "12 kB"],
    [999_499, "999 kB"],
    [999_500, "1 MB"],
    [5_000_000_000, "5 GB"],
    [5_000_000_000_000, "5000 GB"],
  ])("of %d bytes: %s", (bytes, text) => {
    expect(sizeText(bytes)).toBe(text);
  });
});

describe("a text", () => {
  it("cannot command the terminal", () => {
    expect(harmless("a\u001b[2J\u001b]0;title\u0007b\rc\u0008\u009b31md\n\te")).toBe("abcd\n\te");
  });

  it("is cut by letters that people see", () => {
    expect(headOf("a\n b  c", 3)).toBe("a b…");
    expect(headOf("👨‍👩‍👧好", 1)).toBe("👨‍👩‍👧…");
    expect(tailOf("ab 好", 5)).toBe("ab 好");
    expect(tailOf("ab 好好", 5)).toBe("…好");
    expect(tailOf("ab 好 好", 7)).toBe("…好 好");
  });

  it("never takes more columns than there are", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 2, max: 40 }), (text, columns) => {
        const tail = tailOf(text, columns);
        expect(widthOf(tail)).toBeLessThanOrEqual(columns);
        expect(tail).not.toContain("\n");
      }),
    );
  });
});

describe("a command line", () => {
  it.each([
    ["a b", ["a", "b"]],
    ['"a b" c', ["a b", "c"]],
    ["'a b'.png", ["a b.png"]],
    ['a\\ b.png \\"', ["a b.png", '"']],
    ["it's", ["it's"]],
    ["", []],
  ])("%s", (line, words) => {
    expect(wordsOf(line)).toEqual(words);
  });
});

describe("a message", () => {
  const picture = { fileName: "a.png", bytes: 12_000 } as UploadedFile;
  const fileOf = (mediaId: string): UploadedFile | undefined => (mediaId === "@known" ? picture : undefined);
  const shown = (message: Pick<SentMessage, "msgKey" | "msgtype" | "raw"> & { text?: string }): string =>
    messageText({ text: "", ...message } as SentMessage, fileOf);

  it("by the Open API", () => {
    expect(shown({ msgKey: "sampleText", text: "hi", raw: {} })).toBe("hi");
    expect(shown({ msgKey: "sampleMarkdown", text: "see ![x](@known) ![y](http://y)", raw: {} })).toBe(
      "see [image a.png 12 kB] ![y](http://y)",
    );
    expect(shown({ msgKey: "sampleImageMsg", raw: { photoURL: "@known" } })).toBe("[image a.png 12 kB]");
    expect(shown({ msgKey: "sampleImageMsg", raw: { photoURL: "https://x/y.png" } })).toBe("[image https://x/y.png]");
    expect(shown({ msgKey: "sampleFile", raw: { mediaId: "@known", fileName: "b.pdf" } })).toBe("[file b.pdf 12 kB]");
    expect(shown({ msgKey: "sampleAudio", raw: { mediaId: "@known", duration: "3400" } })).toBe("[audio 3.4 s]");
    expect(shown({ msgKey: "sampleVideo", raw: { videoMediaId: "@known", duration: "9" } })).toBe("[video 9 s 12 kB]");
    expect(shown({ msgKey: "sampleLink", raw: { title: "T", text: "t", messageUrl: "https://l" } })).toBe(
      "[link T]\nt\nhttps://l",
    );
  });

  it("with the buttons of every form of action card", () => {
    const two = { title: "T", text: "t" };
    const buttons = "[action card T]\nt\n  [ A ] https://a\n  [ B ] https://b";
    const numbered = (title: string, url: string): object => ({
      ...two,
      [`${title}1`]: "A",
      [`${url}1`]: "https://a",
      [`${title}2`]: "B",
      [`${url}2`]: "https://b",
    });
    const btns = [
      { title: "A", actionURL: "https://a" },
      { title: "B", actionURL: "https://b" },
    ];
    expect(shown({ msgKey: "sampleActionCard2", raw: numbered("actionTitle", "actionURL") })).toBe(buttons);
    expect(shown({ msgKey: "sampleActionCard6", raw: numbered("buttonTitle", "buttonUrl") })).toBe(buttons);
    expect(shown({ msgtype: "actionCard", raw: { actionCard: { ...two, btns } } })).toBe(buttons);
    const single = { ...two, singleTitle: "A", singleURL: "https://a" };
    expect(shown({ msgKey: "sampleActionCard", raw: single })).toBe("[action card T]\nt\n  [ A ] https://a");
    expect(shown({ msgtype: "actionCard", raw: { actionCard: single } })).toBe("[action card T]\nt\n  [ A ] https://a");
  });

  it("by webhook", () => {
    expect(shown({ msgtype: "text", text: "hi", raw: { text: { content: "hi" } } })).toBe("hi");
    expect(shown({ msgtype: "link", raw: { link: { title: "T", text: "t", messageUrl: "https://l" } } })).toBe(
      "[link T]\nt\nhttps://l",
    );
  });
});
