import { createHmac } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, call, type Answer } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let path: string;
let conversationId: string;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app] });
  const body = (await sim.say({ text: "x", group: "测试群" })).body as Record<string, string>;
  path = (body["sessionWebhook"] ?? "").slice(sim.url.length);
  conversationId = body["conversationId"] ?? "";
});
afterEach(() => sim.close());

const reply = (body: unknown, headers = {}): Promise<Answer> => call(sim, path, body, headers);
const hello = { msgtype: "text", text: { content: "hello" } };

describe("sendBySession", () => {
  it("appears in the conversation, without token", async () => {
    const answer = await reply(hello);
    expect(answer).toMatchObject({ status: 200, json: { errcode: 0, errmsg: "ok" } });
    expect(sim.sent).toMatchObject([
      { route: "webhook", conversationId, msgtype: "text", text: "hello", mentions: [], answered: true, raw: hello },
    ]);
    expect(sim.sent[0]).not.toHaveProperty("processQueryKey");
    expect(sim.problems).toEqual([]);
  });

  it.each([
    { msgtype: "markdown", markdown: { title: "t", text: "**x**" } },
    { msgtype: "link", link: { title: "t", text: "x", messageUrl: "https://example.com" } },
    {
      msgtype: "actionCard",
      actionCard: { title: "t", text: "x", singleTitle: "s", singleURL: "https://example.com" },
    },
    {
      msgtype: "actionCard",
      actionCard: { title: "t", text: "x", btns: [{ title: "a", actionURL: "https://example.com" }] },
    },
    { msgtype: "feedCard", feedCard: { links: [{ title: "t", messageURL: "https://example.com", picURL: "u" }] } },
  ])("takes $msgtype", async (body) => {
    expect((await reply(body)).json).toEqual({ errcode: 0, errmsg: "ok" });
    expect(sim.sent).toMatchObject([{ msgtype: body.msgtype, raw: body }]);
  });

  it("takes empty and shows nothing", async () => {
    expect((await reply({ msgtype: "empty" })).json).toMatchObject({ errcode: 0 });
    expect(sim.sent).toEqual([]);
  });

  it.each([
    [{ text: { content: "x" } }, 401102, "miss param : msgtype"],
    [{ msgtype: "text" }, 401102, "miss param : text->content"],
    [{ msgtype: "text", text: { content: "" } }, 401102, "miss param : text->content"],
    [{ msgtype: "markdown", markdown: { text: "x" } }, 401102, "miss param : markdown->title"],
    [{ msgtype: "actionCard", actionCard: { title: "t", text: "x" } }, 401102, "miss param : actionCard->singleTitle"],
    [{ msgtype: "feedCard", feedCard: { links: [] } }, 401102, "miss param : feedCard->links"],
    [{ msgtype: "file", file: { mediaId: "@a" } }, 400105, "不支持的消息类型"],
    [{ msgtype: "toString" }, 400105, "不支持的消息类型"],
    ["not json", 40035, "不合法的参数"],
  ])("answers 200 and an errcode to %j", async (body, errcode, errmsg) => {
    expect(await reply(body)).toMatchObject({ status: 200, json: { errcode, errmsg } });
    expect(sim.sent).toEqual([]);
  });

  it("wants application/json", async () => {
    expect((await reply(hello, { "content-type": "text/plain" })).json).toMatchObject({ errcode: 43004 });
  });

  it("takes media when the knob says so", async () => {
    sim.setKnobs({ webhookMedia: true });
    expect((await reply({ msgtype: "file", file: { mediaId: "@a" } })).json).toMatchObject({ errcode: 0 });
    expect((await reply({ msgtype: "file", file: { media_id: "@a" } })).json).toMatchObject({
      errcode: 401102,
      errmsg: "miss param : file->mediaId",
    });
  });

  it("takes 20,000 bytes and not one more", async () => {
    const of = (bytes: number): string => {
      const empty = JSON.stringify({ msgtype: "text", text: { content: "" } });
      return JSON.stringify({ msgtype: "text", text: { content: "x".repeat(bytes - empty.length) } });
    };
    expect((await reply(of(20_000))).json).toMatchObject({ errcode: 0 });
    expect((await reply(of(20_001))).json).toMatchObject({ errcode: 460101 });
  });

  it("@-s who is in `at` and in the text", async () => {
    const at = { atUserIds: ["staff001", "staff002"], isAtAll: false };
    await reply({ msgtype: "text", text: { content: "@staff001 看" }, at });
    await reply({ msgtype: "text", text: { content: "all" }, at: { isAtAll: true } });
    await reply({ msgtype: "link", link: { title: "t", text: "@staff001", messageUrl: "u" }, at });
    expect(sim.sent.map((sent) => sent.mentions)).toEqual([["staff001"], ["all"], []]);
    expect(sim.problems).toEqual([]);
  });

  it("notes keys of `at` that do not exist", async () => {
    await reply({ ...hello, at: { userIds: ["staff001"] } });
    expect(sim.problems).toEqual([expect.stringContaining("at.userIds")]);
  });

  it("answers 300001 after expiry and to unknown sessions", async () => {
    sim.faults.expireWebhooks();
    expect(await reply(hello)).toMatchObject({ status: 200, json: { errcode: 300001, errmsg: "session 不存在" } });
    expect((await call(sim, "/robot/sendBySession?session=abc", hello)).json).toMatchObject({ errcode: 300001 });
    sim.setKnobs({ webhookTtlMs: -1 });
    const body = (await sim.say({ text: "x" })).body as { sessionWebhook: string };
    expect((await call(sim, body.sessionWebhook.slice(sim.url.length), hello)).json).toMatchObject({ errcode: 300001 });
    expect(sim.sent).toEqual([]);
  });

  it.each([
    [130101, 130101],
    [410100, 410100],
  ] as const)("may be limited per conversation: %i, for the whole penalty", async (webhookThrottleCode, errcode) => {
    sim.setKnobs({ webhookPerMinute: 2, webhookThrottleCode });
    const codes = [];
    for (let i = 0; i < 4; i++) codes.push((await reply(hello)).json["errcode"]);
    expect(codes).toEqual([0, 0, errcode, errcode]);
  });
});

describe("custom robots", () => {
  const send = (query: string, body: object = hello): Promise<Answer> => call(sim, `/robot/send?${query}`, body);

  beforeEach(async () => {
    await sim.close();
    sim = await startDingtalkSimulator({
      apps: [app],
      customRobots: [
        { accessToken: "open", group: "测试群" },
        { accessToken: "signed", group: "测试群", secret: "SEC1" },
      ],
    });
  });

  it("send 20 messages a minute, then nothing", async () => {
    const answers = await Promise.all(Array.from({ length: 25 }, () => send("access_token=open")));
    expect(answers.filter((a) => a.json["errcode"] === 0)).toHaveLength(20);
    expect(answers.filter((a) => a.json["errcode"] === 130101)).toHaveLength(5);
    expect(sim.sent).toHaveLength(20);
    expect(sim.sent[0]).toMatchObject({ route: "custom", text: "hello" });
  });

  it("repeat nothing with the same msgUuid", async () => {
    for (let i = 0; i < 2; i++) {
      const answer = await send("access_token=open", { ...hello, msgUuid: "u1" });
      expect(answer.json).toMatchObject({ errcode: 0 });
    }
    expect(sim.sent).toHaveLength(1);
  });

  it("check token and signature", async () => {
    expect((await send("access_token=no")).json).toMatchObject({ errcode: 400101 });
    expect((await send("access_token=signed")).json).toMatchObject({ errcode: 310000 });
    const timestamp = Date.now();
    const sign = createHmac("sha256", "SEC1").update(`${timestamp}\nSEC1`).digest("base64");
    const query = `access_token=signed&timestamp=${timestamp}&sign=${encodeURIComponent(sign)}`;
    expect((await send(query)).json).toMatchObject({ errcode: 0 });
  });
});
