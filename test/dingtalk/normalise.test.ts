import { Compile } from "typebox/compile";
import { describe, expect, it } from "vitest";
import { buildEnvelope, mediaReferences, normaliseMessage } from "../../src/dingtalk/normalise.ts";
import { EnvelopeSchema } from "../../src/domain/envelope.ts";
import { PAYLOAD_FILES, payloads } from "../support/payloads.ts";

const envelope = Compile(EnvelopeSchema);
const receivedAt = Date.parse("2026-11-22T07:00:00.123Z");
const context = { account: "main", robotCode: "dingoxxxxdm3k", receivedAt };
const minimal = { msgtype: "text", msgId: "msgA==", conversationId: "cidA==", conversationType: "1" };
const textOf = (body: Record<string, unknown>, more = {}) =>
  normaliseMessage(body, { ...context, ...more }).message.text;

/** What a path of `mediaReferences` leads to. */
const follow = (start: unknown, path: readonly (string | number)[]): unknown =>
  path.reduce<unknown>((value, step) => (value as Record<string | number, unknown>)[step], start);

describe.each(PAYLOAD_FILES)("payloads: %s", (file) => {
  it.each(payloads(file))("$name", ({ body, expect: expected, absent, codes, overQuota, reply }) => {
    const normalised = normaliseMessage(body, context);
    const references = mediaReferences(body);
    const sent = JSON.stringify(buildEnvelope(normalised, { attempt: 1, now: receivedAt }));
    expect(normalised.message).toMatchObject(expected);
    for (const field of absent) expect(normalised.message).not.toHaveProperty(field);
    expect(normalised.overQuota).toBe(overQuota);
    expect(normalised.reply).toEqual({ to: reply, inReplyTo: `main:${String(body["msgId"])}` });
    expect(envelope.Errors(JSON.parse(sent))).toEqual([]);
    // Codes are found, lead to their parts, and stay inside the bridge.
    expect(references.map(({ downloadCode }) => downloadCode)).toEqual(codes);
    for (const { path, type, downloadCode } of references) {
      expect(follow(normalised.message, path)).toMatchObject({ type, error: { code: "media_not_fetched" } });
      expect(sent).not.toContain(JSON.stringify(downloadCode));
    }
  });
});

describe("ids", () => {
  it("keeps them whole and case-sensitive", () => {
    const [lower, upper] = ["cidABC==", "cidabc=="].map(
      (conversationId) => normaliseMessage({ ...minimal, conversationId, text: { content: "x" } }, context).message,
    );
    expect([lower?.conversation.id, upper?.conversation.id]).toEqual(["cidABC==", "cidabc=="]);
  });

  it("makes different envelopes of different messages", () => {
    const ids = ["msgA==", "msga=="].map((msgId) => normaliseMessage({ ...minimal, msgId }, context).id);
    expect(ids).toEqual(["main:msgA==", "main:msga=="]);
  });
});

describe("where an answer goes", () => {
  it("goes to the person in a direct conversation", () => {
    const { reply } = normaliseMessage({ ...minimal, senderStaffId: "staff001" }, context);
    expect(reply).toEqual({ to: "user:staff001", inReplyTo: "main:msgA==" });
  });

  it("goes to the conversation in a group", () => {
    const { reply } = normaliseMessage({ ...minimal, conversationType: "2", senderStaffId: "staff001" }, context);
    expect(reply.to).toBe("conversation:cidA==");
  });
});

describe("the robot's own name, when it is known", () => {
  const group = { ...minimal, conversationType: "2" };

  it("is taken from the front, spaces in it included", () => {
    const body = { ...group, text: { content: "@My Bot 你好 @My Bot" } };
    expect(textOf(body, { robotName: "My Bot" })).toBe("你好 @My Bot");
  });

  it("is not taken from a longer name", () => {
    const body = { ...group, text: { content: "@My Botanist 你好" } };
    expect(textOf(body, { robotName: "My Bot" })).toBe("@My Botanist 你好");
  });

  it("is not taken in a direct conversation", () => {
    expect(textOf({ ...minimal, text: { content: "@Bot" } }, { robotName: "Bot" })).toBe("@Bot");
  });
});

describe("raw", () => {
  const body = {
    ...minimal,
    text: { content: "x", sessionWebhook: "https://a" },
    sessionWebhook: "https://b",
    sessionWebhookExpiredTime: 1,
    future: [1],
  };

  it("comes only when asked for, without the session webhook", () => {
    expect(normaliseMessage(body, context).message).not.toHaveProperty("raw");
    expect(normaliseMessage(body, { ...context, includeRaw: true }).message.raw).toEqual({
      ...minimal,
      text: { content: "x" },
      future: [1],
    });
    expect(body.sessionWebhook, "the body itself is left alone").toBe("https://b");
  });
});

describe("one envelope per try", () => {
  it("counts the tries and the age, and changes nothing else", () => {
    const normalised = normaliseMessage(minimal, context);
    const first = buildEnvelope(normalised, { attempt: 1, now: receivedAt + 12 });
    const second = buildEnvelope(normalised, { attempt: 2, now: receivedAt + 5_000 });
    expect(first).toMatchObject({ version: 1, id: "main:msgA==", attempt: 1, ageMs: 12, account: "main" });
    expect(first.receivedAt).toBe("2026-11-22T07:00:00.123Z");
    expect(second).toEqual({ ...first, attempt: 2, ageMs: 5_000 });
  });

  it("has no negative age after the clock was set back", () => {
    expect(buildEnvelope(normaliseMessage(minimal, context), { attempt: 1, now: 0 }).ageMs).toBe(0);
  });
});
