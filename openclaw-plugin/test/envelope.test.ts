import { expect, test } from "vitest";
import { readEnvelope } from "../src/envelope.ts";

const ID = `m_${"0".repeat(32)}`;

const parts = (...all: unknown[]) => {
  const body = {
    version: 1,
    id: "main:m1",
    account: "main",
    type: "message",
    message: {
      conversation: { kind: "direct", id: "cid" },
      sender: { id: "staff001" },
      text: "",
      parts: all,
    },
    reply: { to: "user:staff001", inReplyTo: "main:m1" },
  };
  const envelope = readEnvelope(JSON.stringify(body));
  return envelope.type === "message" ? envelope.message.parts : undefined;
};

test("a part has its file, or the reason why there is none", () => {
  const media = {
    id: ID,
    url: "http://elsewhere/",
    mimeType: "audio/amr",
    bytes: 5,
    durationMs: 4_000,
    fileName: "a.amr",
  };
  const error = { code: "media_too_large", detail: "larger than 20 MB", more: 1 };
  const { url: _url, ...kept } = media;
  expect(parts({ type: "audio", media, recognition: "words" }, { type: "file", fileName: "b.pdf", error })).toEqual([
    { type: "audio", media: kept, recognition: "words" },
    { type: "file", fileName: "b.pdf", error: { code: "media_too_large", detail: "larger than 20 MB" } },
  ]);
});

test("what is not as it should be is left out", () => {
  expect(parts({ type: "file", media: { id: 5 }, error: "no" }, "text", { media: { id: ID, bytes: "5" } })).toEqual([
    { type: "file" },
    { type: "unknown", media: { id: ID } },
  ]);
});
