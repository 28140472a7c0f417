import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { oddMessages } from "../../src/sandbox/dingtalk-oddities.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SaidMessage } from "../../src/sandbox/dingtalk-types.ts";
import { app, appKey, connect, type Client } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let client: Client;
const other = { appKey: "dingapp2", appSecret: "secret-2", published: false };

beforeEach(async () => {
  sim = await startDingtalkSimulator({
    apps: [app, other],
    users: [
      { staffId: "staff001", name: "张三", admin: true },
      { staffId: "guest", name: "客人", outsider: true },
    ],
  });
  client = (await connect(sim)).autoAck();
});
afterEach(() => sim.close());

const said = async (message: SaidMessage): Promise<Record<string, unknown>> =>
  (await sim.say(message)).body as Record<string, unknown>;

describe("the body", () => {
  it("of a direct message is that of the documentation", async () => {
    expect(await said({ text: "hello DingTalk!" })).toEqual({
      senderPlatform: "Mac",
      conversationId: expect.stringMatching(/^cid.{43}=$/),
      openThreadId: expect.stringMatching(/^cid/),
      chatbotCorpId: expect.stringMatching(/^ding[0-9a-f]{32}$/),
      chatbotUserId: expect.stringMatching(/^\$:LWCP_v1:\$/),
      msgId: expect.stringMatching(/^msg.{22}==$/),
      senderNick: "张三",
      isAdmin: true,
      senderStaffId: "staff001",
      sessionWebhookExpiredTime: expect.any(Number),
      createAt: expect.any(Number),
      senderCorpId: expect.stringMatching(/^ding[0-9a-f]{32}$/),
      conversationType: "1",
      senderId: expect.stringMatching(/^\$:LWCP_v1:\$/),
      sessionWebhook: expect.stringMatching(/\/robot\/sendBySession\?session=[0-9a-f]{32}$/),
      text: { content: "hello DingTalk!" },
      robotCode: appKey,
      msgtype: "text",
    });
  });

  it("of a group message has the group's fields and the space that the @ leaves", async () => {
    const body = await said({ text: "你好", group: "测试群" });
    expect(body).toMatchObject({
      conversationType: "2",
      conversationTitle: "测试群",
      isInAtList: true,
      text: { content: " 你好" },
      atUsers: [{ dingtalkId: body["chatbotUserId"] }],
    });
    expect(body).not.toHaveProperty("openThreadId");
  });

  it("lists who else is mentioned; outsiders without staff id", async () => {
    const body = await said({ text: "@x", group: "测试群", at: ["staff001", "guest"] });
    const [, staff, guest] = body["atUsers"] as Record<string, unknown>[];
    expect(staff).toEqual({ dingtalkId: body["senderId"], staffId: "staff001" });
    expect(guest).toEqual({ dingtalkId: expect.stringMatching(/^\$:LWCP/) });
  });

  it("keeps conversations apart and stable", async () => {
    const ids = [
      await said({ text: "1" }),
      await said({ text: "2" }),
      await said({ text: "3", from: "staff009" }),
      await said({ text: "4", group: "测试群" }),
      await said({ text: "5", group: "另一个群" }),
    ].map((body) => body["conversationId"]);
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(4);
  });

  it("has a webhook that lives 5,400 s and is fresh in every message", async () => {
    const [a, b] = [await said({ text: "1" }), await said({ text: "2" })];
    expect(a["sessionWebhook"]).not.toBe(b["sessionWebhook"]);
    expect(Math.abs(Number(a["sessionWebhookExpiredTime"]) - Number(a["createAt"]) - 5_400_000)).toBeLessThan(1_000);
  });

  it("of an outsider has no staff id and no corp", async () => {
    const body = await said({ text: "x", from: "guest" });
    expect(body).not.toHaveProperty("senderStaffId");
    expect(body).not.toHaveProperty("senderCorpId");
    expect(body["senderNick"]).toBe("客人");
  });

  it("of an unpublished robot has neither staff id nor isAdmin", async () => {
    const body = await said({ text: "x", app: "dingapp2" });
    expect(body).not.toHaveProperty("senderStaffId");
    expect(body).not.toHaveProperty("isAdmin");
  });

  it("follows DingTalk's clock", async () => {
    sim.setKnobs({ clockSkewMs: -3_600_000 });
    const body = await said({ text: "x" });
    expect(Number(body["createAt"])).toBeLessThan(Date.now() - 3_500_000);
    await expect.poll(() => Number(client.messages[0]?.headers["time"])).toBeLessThan(Date.now() - 3_500_000);
  });

  it("is overridden by the payload; null removes", async () => {
    const body = await said({ text: "x", payload: { senderStaffId: null, msgId: "mine", extra: [1] } });
    expect(body).toMatchObject({ msgId: "mine", extra: [1] });
    expect(body).not.toHaveProperty("senderStaffId");
  });

  it.each([
    ["picture", { downloadCode: expect.any(String), pictureDownloadCode: expect.any(String) }],
    ["audio", { duration: 4_000, downloadCode: expect.any(String), recognition: expect.any(String) }],
    ["video", { duration: 4_000, videoType: "mp4", downloadCode: expect.any(String) }],
    [
      "file",
      {
        spaceId: expect.any(String),
        fileName: "foobar.zip",
        downloadCode: expect.any(String),
        fileId: expect.any(String),
      },
    ],
    ["richText", { richText: [{ text: expect.any(String) }, { type: "picture" }, { text: expect.any(String) }] }],
  ])("of %s has the documented content", async (msgtype, content) => {
    const body = await said({ msgtype });
    expect(body).toMatchObject({ msgtype, content });
    expect(body).not.toHaveProperty("text");
  });
});

describe("delivery rules", () => {
  it.each(["audio", "video", "file"])("%s never reaches a robot in a group", async (msgtype) => {
    await expect(sim.say({ msgtype, group: "测试群" })).rejects.toThrow("does not deliver");
    expect(await sim.say({ msgtype, group: "测试群", force: true })).toMatchObject({ delivered: true });
  });

  it("a group message without @ is not delivered; @所有人 is none", async () => {
    const handle = await sim.say({ text: "x", group: "测试群", mention: false, at: ["all"] });
    expect(handle).toMatchObject({ delivered: false, reason: "not_mentioned" });
    expect(sim.pushes).toEqual([]);
  });

  it("two robots that are @-ed get the same msgId, each its own view", async () => {
    const two = await connect(sim, { clientId: "dingapp2", clientSecret: "secret-2" });
    const handle = await sim.say({ text: "both", group: "测试群", at: ["dingapp2"] });
    await expect.poll(() => [client.messages.length, two.messages.length]).toEqual([1, 1]);
    const [mine, its] = [client.body(), two.body()];
    expect(mine["msgId"]).toBe(its["msgId"]);
    expect(mine["conversationId"]).toBe(its["conversationId"]);
    expect(mine["robotCode"]).not.toBe(its["robotCode"]);
    expect(mine["senderId"]).not.toBe(its["senderId"]);
    expect(mine["sessionWebhook"]).not.toBe(its["sessionWebhook"]);
    expect(mine["atUsers"]).toHaveLength(2);
    expect(handle.copies).toMatchObject([{ app: "dingapp2", msgId: handle.msgId, delivered: true }]);
    // The second robot can be the only one that is @-ed.
    await sim.say({ text: "only two", group: "测试群", mention: false, at: ["dingapp2"] });
    await expect.poll(() => two.messages).toHaveLength(2);
    expect(client.messages).toHaveLength(1);
  });
});

it.each(Object.entries(oddMessages))("the odd message %s travels as it is", async (_name, message) => {
  const handle = await sim.say(message);
  await handle.acked();
  expect(client.body()).toEqual(handle.body);
});
