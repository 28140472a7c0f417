import { Compile } from "typebox/compile";
import { describe, expect, it } from "vitest";
import { envelopeJsonSchema } from "../../scripts/generators/envelope-schema.ts";
import { EnvelopeSchema, type Envelope } from "../../src/domain/envelope.ts";

const schema = Compile(EnvelopeSchema);
const common = {
  version: 1,
  account: "main",
  robotCode: "dingxxxx",
  attempt: 1,
  receivedAt: "2026-11-22T07:00:00.123Z",
  ageMs: 12,
} as const;
const conversation = { kind: "group", id: "cidA==", title: "测试群" } as const;

/** The envelope as the documentation shows it, every field filled. */
const message: Envelope = {
  ...common,
  id: "main:msgXYZ==",
  type: "message",
  message: {
    id: "msgXYZ==",
    kind: "richText",
    sentAt: "2026-11-22T07:00:00.000Z",
    conversation,
    sender: {
      id: "staff001",
      staffId: "staff001",
      dingtalkId: "$:LWCP_v1:$a",
      unionId: "u1",
      name: "张三",
      corpId: "dinga",
      isAdmin: false,
    },
    mentioned: true,
    mentions: [{ staffId: "staff002", dingtalkId: "$:LWCP_v1:$b" }],
    forwarded: true,
    text: "帮我总结一下",
    parts: [
      { type: "text", text: "帮我总结一下" },
      {
        type: "audio",
        media: {
          id: "m1",
          url: "http://127.0.0.1:8790/v1/media/m1",
          mimeType: "audio/amr",
          bytes: 12345,
          fileName: "a.amr",
          durationMs: 4000,
        },
        recognition: "你好",
      },
      { type: "image", error: { code: "media_too_large", detail: "larger than 20 MB" } },
    ],
    quote: {
      messageId: "msgQ==",
      sender: { name: "李四" },
      text: "旧",
      parts: [{ type: "text", text: "旧" }],
      quote: { text: "", parts: [] },
    },
    raw: { msgtype: "richText" },
  },
  reply: { to: "conversation:cidA==", inReplyTo: "main:msgXYZ==" },
};
const action: Envelope = {
  ...common,
  id: "main:frame1",
  type: "card.action",
  action: { outTrackId: "br_1", actionId: "stop", params: { a: 1 }, user: "staff001", conversation },
  reply: { to: "conversation:cidA==", inReplyTo: "main:frame1" },
};
const event: Envelope = {
  ...common,
  id: "main:event1",
  type: "event",
  event: { type: "robot_msg_recall", id: "event1", at: "2026-11-22T07:00:00.000Z", data: {} },
};

describe("the envelope's schema", () => {
  it.each([message, action, event])("accepts $type", (envelope) => {
    expect(schema.Errors(envelope)).toEqual([]);
  });

  it("accepts fields that a later bridge adds, at every level", () => {
    const extended = JSON.parse(JSON.stringify([message, action, event]), (_key, value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value, later: { a: [1] } } : value,
    ) as unknown[];
    for (const envelope of extended) expect(schema.Errors(envelope)).toEqual([]);
  });

  it.each([
    ["another version", { ...message, version: 2 }],
    ["no id", { ...message, id: undefined }],
    ["a message without its message", { ...message, message: undefined }],
    ["a message without where to answer", { ...message, reply: undefined }],
    ["an unknown type", { ...event, type: "other" }],
    ["an action under the type of an event", { ...action, type: "event" }],
    ["no attempt yet", { ...event, attempt: 0 }],
    ["a time without a date", { ...event, receivedAt: "07:00" }],
    ["a negative age", { ...event, ageMs: -1 }],
    [
      "an unknown kind of conversation",
      { ...action, action: { ...action.action, conversation: { kind: "x", id: "c" } } },
    ],
  ])("refuses %s", (_what, envelope) => {
    expect(schema.Check(JSON.parse(JSON.stringify(envelope)))).toBe(false);
  });

  it("describes every field", () => {
    const undescribed: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return;
      for (const [key, value] of Object.entries(node)) {
        const here = `${path}/${key}`;
        if (path.endsWith("/properties") && !("description" in (value as object))) undescribed.push(here);
        visit(value, here);
      }
    };
    visit(EnvelopeSchema, "");
    expect(undescribed).toEqual([]);
  });
});

describe("the generated document", () => {
  const document = envelopeJsonSchema() as Record<string, unknown>;

  it("is a titled JSON Schema 2020-12, the same every time, plain JSON", () => {
    expect(document).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      $id: "urn:dingtalk-bridge:envelope:1",
      title: expect.any(String) as string,
    });
    expect(JSON.stringify(envelopeJsonSchema())).toBe(JSON.stringify(document));
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });

  it("forbids no field and requires only what every version 1 has", () => {
    const text = JSON.stringify(document);
    expect(text).not.toMatch(/additionalProperties":false|unevaluatedProperties/);
    const variants = document["anyOf"] as { required: string[] }[];
    const always = ["version", "id", "account", "robotCode", "attempt", "receivedAt", "ageMs", "type"];
    expect(variants.map(({ required }) => required)).toEqual([
      [...always, "message", "reply"],
      [...always, "action"],
      [...always, "event"],
    ]);
  });
});
