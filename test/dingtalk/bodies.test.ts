import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SendContent, type WebhookContent, openApiMessage, webhookBody } from "../../src/dingtalk/bodies.ts";
import { judgeParams } from "../../src/sandbox/dingtalk-params.ts";

const buttons = (count: number) => Array.from({ length: count }, (_, n) => ({ title: `t${n}`, url: `https://e/${n}` }));

describe("msgKey and msgParam", () => {
  it.each<[SendContent, string, object]>([
    [{ type: "image", mediaId: "@a" }, "sampleImageMsg", { photoURL: "@a" }],
    [{ type: "audio", mediaId: "@a", durationMs: 1_499.6 }, "sampleAudio", { mediaId: "@a", duration: "1500" }],
    [
      { type: "video", mediaId: "@v", coverId: "@c", durationMs: 400, width: 320, height: 240 },
      "sampleVideo",
      { duration: "1", videoMediaId: "@v", videoType: "mp4", picMediaId: "@c", width: "320", height: "240" },
    ],
    [
      { type: "file", mediaId: "@f", fileName: "表.xlsx", fileType: "xlsx" },
      "sampleFile",
      { mediaId: "@f", fileName: "表.xlsx", fileType: "xlsx" },
    ],
    [
      { type: "link", title: "t", text: "x", url: "https://e" },
      "sampleLink",
      { title: "t", text: "x", messageUrl: "https://e" },
    ],
    [
      { type: "actionCard", title: "t", text: "x", buttons: buttons(1), layout: "vertical" },
      "sampleActionCard",
      { title: "t", text: "x", singleTitle: "t0", singleURL: "https://e/0" },
    ],
    [
      { type: "actionCard", title: "t", text: "x", buttons: buttons(2) },
      "sampleActionCard2",
      {
        title: "t",
        text: "x",
        actionTitle1: "t0",
        actionURL1: "https://e/0",
        actionTitle2: "t1",
        actionURL2: "https://e/1",
      },
    ],
    [
      { type: "actionCard", title: "t", text: "x", buttons: buttons(2), layout: "horizontal" },
      "sampleActionCard6",
      {
        title: "t",
        text: "x",
        buttonTitle1: "t0",
        buttonUrl1: "https://e/0",
        buttonTitle2: "t1",
        buttonUrl2: "https://e/1",
      },
    ],
  ])("of %j", (content, msgKey, param) => {
    const message = openApiMessage(content);
    expect(message.msgKey).toBe(msgKey);
    expect(JSON.parse(message.msgParam)).toEqual(param);
  });

  it("are what DingTalk's rules ask for, whatever the words are", () => {
    const text = fc.string({ minLength: 1, unit: "grapheme" });
    const rich = fc.record({ title: text, text, url: text });
    const contents: fc.Arbitrary<SendContent> = fc.oneof(
      rich.map((one) => ({ type: "link" as const, ...one })),
      fc
        .tuple(rich, fc.array(fc.record({ title: text, url: text }), { minLength: 1, maxLength: 5 }), fc.boolean())
        .map(([{ title, text }, buttons, wide]) => {
          const layout = wide && buttons.length === 2 ? ("horizontal" as const) : ("vertical" as const);
          return { type: "actionCard" as const, title, text, buttons, layout };
        }),
      fc.tuple(text, fc.nat(), fc.nat({ max: 5_000 })).map(([mediaId, durationMs, side]) => ({
        type: "video" as const,
        mediaId,
        coverId: "@c",
        durationMs,
        width: side,
        height: side,
      })),
      fc.tuple(text, fc.nat()).map(([mediaId, durationMs]) => ({ type: "audio" as const, mediaId, durationMs })),
    );
    fc.assert(
      fc.property(contents, (content) => {
        const { msgKey, msgParam } = openApiMessage(content);
        expect(judgeParams(msgKey, msgParam, 1_000_000, () => true)).toHaveProperty("shown");
      }),
    );
  });
});

describe("a webhook's body", () => {
  it.each<[WebhookContent, object]>([
    [
      { type: "link", title: "t", text: "x", url: "https://e", imageUrl: "https://i" },
      { msgtype: "link", link: { title: "t", text: "x", messageUrl: "https://e", picUrl: "https://i" } },
    ],
    [
      { type: "actionCard", title: "t", text: "x", buttons: buttons(1) },
      {
        msgtype: "actionCard",
        actionCard: { title: "t", text: "x", singleTitle: "t0", singleURL: "https://e/0", btnOrientation: "0" },
      },
    ],
    [
      { type: "actionCard", title: "t", text: "x", buttons: buttons(2), layout: "horizontal" },
      {
        msgtype: "actionCard",
        actionCard: {
          title: "t",
          text: "x",
          btns: [
            { title: "t0", actionURL: "https://e/0" },
            { title: "t1", actionURL: "https://e/1" },
          ],
          btnOrientation: "1",
        },
      },
    ],
  ])("of %j", (content, body) => {
    expect(webhookBody(content)).toEqual(body);
  });

  it("@-s in an action card by id and word, in a link not at all", () => {
    const card: WebhookContent = { type: "actionCard", title: "t", text: "hallo @a", buttons: buttons(1) };
    expect(webhookBody(card, { userIds: ["a", "b"], all: true })).toMatchObject({
      actionCard: { text: "hallo @a\n\n@b" },
      at: { atUserIds: ["a", "b"], isAtAll: true },
    });
    const link: WebhookContent = { type: "link", title: "t", text: "x", url: "https://e" };
    expect(webhookBody(link, { userIds: ["a"] })).not.toHaveProperty("at");
  });
});
