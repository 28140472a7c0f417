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

test("the stop button of a card is /stop of whoever pressed it; other controls have no effect", () => {
  const pressed = (action: object) =>
    readEnvelope(
      JSON.stringify({
        version: 1,
        id: "main:f1",
        account: "main",
        type: "card.action",
        action: {
          outTrackId: "o1",
          actionId: "stop",
          user: "staff001",
          conversation: { kind: "group", id: "cid1" },
          ...action,
        },
        reply: { to: "conversation:cid1", inReplyTo: "main:f1" },
      }),
    );
  expect(pressed({})).toMatchObject({
    id: "main:f1",
    type: "message",
    message: {
      text: "/stop",
      sender: { id: "staff001" },
      conversation: { kind: "group", id: "cid1" },
      mentioned: true,
    },
    replyTo: "conversation:cid1",
  });
  const other = { id: "main:f1", account: "main", type: "card.action" };
  expect([pressed({ actionId: "approve" }), pressed({ conversation: null }), pressed({ user: "" })]).toEqual([
    other,
    other,
    other,
  ]);
});
