import { afterEach, describe, expect, it } from "vitest";
import type { MessageEnvelope, Quote } from "../../src/domain/envelope.ts";
import { completeQuote } from "../../src/flows/quotes.ts";
import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import type { SaidMessage } from "../../src/sandbox/dingtalk-types.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { pngOf } from "../support/sample-files.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

async function start(): Promise<TestBridge> {
  // By the Open API: only what went there has a key.
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
  return bridge;
}

/** What the gateway is told that this message quotes. */
async function quoteIn(one: TestBridge, said: SaidMessage): Promise<Quote | undefined> {
  const handle = await one.dingtalk.say(said);
  await handle.acked();
  const envelope = (): MessageEnvelope | undefined =>
    one.gateway.taken.find((taken) => taken.type === "message" && taken.message.id === handle.msgId) as
      | MessageEnvelope
      | undefined;
  await expect.poll(envelope).toBeDefined();
  return envelope()?.message.quote;
}

/** A reply to something of which the client sends next to nothing. */
const replyTo = (payload: object): SaidMessage => ({ content: { content: "说明一下", isReplyMsg: true }, payload });

interface View {
  parts: { receipt?: string }[];
}

async function send(one: TestBridge, content: object, to = "user:staff001"): Promise<string[]> {
  const response = await one.api("POST", "/v1/messages", { to, content }, { prefer: "wait=10" });
  const { id } = (await response.json()) as { id: string };
  expect(response.status).toBe(200);
  const view = (await (await one.api("GET", `/v1/messages/${id}`)).json()) as View;
  return view.parts.flatMap(({ receipt }) => receipt ?? []);
}

describe("a quote of the robot's own message by its key alone", () => {
  it.each([
    ["text", { type: "text", text: "第一条" }, { kind: "text", text: "第一条" }],
    ["markdown", { type: "markdown", text: "## 标题\n\n正文" }, { kind: "markdown", text: "## 标题\n\n正文" }],
    [
      "a card",
      { type: "card", templateId: publicTemplate, params: { msgContent: "卡片的话", flowStatus: 3, config: {} } },
      { kind: "card", text: "卡片的话" },
    ],
    [
      "an action card",
      { type: "actionCard", title: "选择", text: "请选", buttons: [{ title: "好", url: "https://example.com/1" }] },
      { kind: "actionCard", text: "选择\n请选\n好: https://example.com/1" },
    ],
  ])("%s: its words are there", async (_name, content, expected) => {
    const one = await start();
    const [key] = await send(one, content);
    expect(key).toBeTypeOf("string");
    const quote = await quoteIn(one, replyTo({ originalProcessQueryKey: key, originalMsgId: "msgOwn==" }));
    expect(quote).toMatchObject({
      ...expected,
      processQueryKey: key,
      messageId: "msgOwn==",
      parts: [{ type: "text", text: expected.text }],
    });
    expect(quote?.sentAt).toMatch(/^\d{4}-/);
  });

  it("of a long one, the part that was quoted", async () => {
    const one = await start();
    const keys = await send(one, { type: "text", text: `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}` });
    expect(keys).toHaveLength(2);
    const quote = await quoteIn(one, replyTo({ originalProcessQueryKey: keys[1] }));
    expect(quote?.text).toBe("乙".repeat(3_000));
  });

  it("an unknown key is passed on as it is", async () => {
    const one = await start();
    const quote = await quoteIn(one, replyTo({ originalProcessQueryKey: "unknown" }));
    expect(quote).toEqual({ processQueryKey: "unknown", text: "", parts: [] });
  });
});

describe("a quote of a person's message by its id alone", () => {
  it("brings the words, the sender and the files that the bridge has of it", async () => {
    const one = await start();
    const group = "测试群";
    const handle = await one.dingtalk.say({
      msgtype: "richText",
      text: "原话",
      file: pngOf("q"),
      from: "staff002",
      group,
    });
    await handle.acked();
    const quote = await quoteIn(one, { ...replyTo({ originalMsgId: handle.msgId }), group });
    expect(quote).toMatchObject({
      messageId: handle.msgId,
      kind: "richText",
      sender: { staffId: "staff002", name: "李四" },
      text: "原话\n以上",
      parts: [{ type: "text" }, { type: "image", media: { mimeType: "image/png" } }, { type: "text" }],
    });
    expect(one.dingtalk.requests.filter(({ api }) => api === "messageFiles/download")).toHaveLength(1);
  });

  it("never one of another conversation", async () => {
    const one = await start();
    const handle = await one.dingtalk.say({ text: "secret", from: "staff002" });
    await handle.acked();
    const quote = await quoteIn(one, { ...replyTo({ originalMsgId: handle.msgId }), from: "staff001" });
    expect(quote).toEqual({ messageId: handle.msgId, text: "", parts: [] });
  });
});

describe("a quote that can be read", () => {
  const nothing = { sent: () => undefined, said: () => undefined, file: () => undefined };
  const never = (): never => {
    throw new Error("asked for");
  };

  it("stays as DingTalk sent it", () => {
    const quote: Quote = {
      processQueryKey: "k",
      messageId: "m",
      text: "words",
      parts: [{ type: "text", text: "words" }],
    };
    expect(completeQuote(quote, { ...nothing, sent: never, said: never })).toBe(quote);
  });

  it("a file of the robot's own that is kept comes with its link, one that is not with the reason", () => {
    const media = { id: "m_1", url: "http://127.0.0.1/v1/media/m_1", mimeType: "image/png", bytes: 1 };
    const quote: Quote = { processQueryKey: "k", text: "", parts: [] };
    const sent = () => ({ body: { type: "image", media: { id: "m_1" }, fileName: "a.png" }, at: 0, entryId: "out_1" });
    expect(completeQuote(quote, { ...nothing, sent, file: () => media })).toMatchObject({
      kind: "image",
      parts: [{ type: "image", media, fileName: "a.png" }],
    });
    expect(completeQuote(quote, { ...nothing, sent }).parts).toMatchObject([
      { type: "image", error: { code: "media_expired" }, fileName: "a.png" },
    ]);
  });
});
