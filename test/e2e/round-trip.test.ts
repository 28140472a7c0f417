import { afterEach, describe, expect, it } from "vitest";
import { type TestBridge, APP, startBridge } from "../support/bridge.ts";

/** A field of the body that was pushed. */
const field = (push: { body: unknown }, name: string): string => String((push.body as Record<string, unknown>)[name]);

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

describe("a message goes all the way", () => {
  it("answers a person in a direct conversation, by the webhook, and acks once the message is stored", async () => {
    bridge = await startBridge();
    const push = await bridge.dingtalk.say({ text: "你好" });
    const sent = await bridge.dingtalk.until("sent");
    expect(sent).toMatchObject({ route: "webhook", text: "收到:你好" });
    expect(await push.acked()).toMatchObject({ code: 200 });
    expect(bridge.gateway.taken[0]).toMatchObject({
      version: 1,
      id: `main:${push.msgId}`,
      type: "message",
      account: "main",
      message: { text: "你好", conversation: { kind: "direct" }, sender: { staffId: "staff001" }, mentioned: true },
      reply: { to: "user:staff001", inReplyTo: `main:${push.msgId}` },
    });
    expect(bridge.gateway.received[0]?.idempotencyKey).toBe(encodeURI(`main:${push.msgId}`));
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("answers in the group that was asked, its id unchanged", async () => {
    bridge = await startBridge();
    const push = await bridge.dingtalk.say({ text: "几点了", group: "测试群" });
    const sent = await bridge.dingtalk.until("sent");
    expect(sent).toMatchObject({ text: "收到:几点了", conversationId: field(push, "conversationId") });
    expect(bridge.gateway.taken[0]).toMatchObject({
      reply: { to: `conversation:${field(push, "conversationId")}` },
    });
  });

  it("sends by the Open API when the webhook has expired, and when DingTalk says so (300001)", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "slow", delayMs: 50 } } });
    bridge.gateway.events.once("taken", () => bridge?.dingtalk.faults.expireWebhooks());
    await bridge.dingtalk.say({ text: "direct" });
    expect(await bridge.dingtalk.until("sent")).toMatchObject({
      route: "oto",
      userIds: ["staff001"],
      text: "收到:direct",
    });
    expect(bridge.dingtalk.requests.map(({ api, code }) => `${api} ${code}`)).toContain("sendBySession 300001");
  });

  it("gives the second robot its own copy of a group message with the same msgId", async () => {
    const other = { appKey: "dingtestkey00000002", appSecret: "test-secret-two-of-two" };
    bridge = await startBridge({
      dingtalk: { apps: [APP, other] },
      gateway: {
        checkToken: false,
        accounts: [
          { id: "main", appKey: APP.appKey, token: "bridge-token-of-both" },
          { id: "second", appKey: other.appKey, token: "bridge-token-of-both" },
        ],
      },
      env: {
        BRIDGE_TOKEN: "bridge-token-of-both",
        BRIDGE_CONFIG: new URL("../fixtures/second-account.json5", import.meta.url).pathname,
      },
      unconnected: true,
    });
    await expect.poll(() => bridge?.dingtalk.connections.length).toBe(2);
    await bridge.dingtalk.say({ text: "大家好", group: "测试群", at: [other.appKey] });
    await expect.poll(() => bridge?.gateway.taken.map(({ account }) => account).toSorted()).toEqual(["main", "second"]);
    const [first, second] = bridge.gateway.taken;
    expect(first?.id.split(":")[1]).toBe(second?.id.split(":")[1]);
  });
});

describe("what was accepted survives", () => {
  it("keeps the order of a conversation, side by side with others", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "answer", status: 503, retryAfterS: 0 } } });
    for (let n = 0; n < 5; n += 1) {
      for (const from of ["staff001", "staff002"]) await (await bridge.dingtalk.say({ from, text: `${n}` })).acked();
    }
    bridge.gateway.mode = { kind: "echo" };
    await expect.poll(() => bridge?.dingtalk.sent.length, { timeout: 15_000 }).toBe(10);
    for (const user of ["staff001", "staff002"]) {
      const texts = bridge.gateway.taken.flatMap((one) =>
        one.type === "message" && one.message.sender.staffId === user ? [one.message.text] : [],
      );
      expect(texts).toEqual(["0", "1", "2", "3", "4"]);
    }
  });

  it("recognises a repeated push, also after a restart", async () => {
    bridge = await startBridge({ dingtalk: { knobs: { redeliverAfterMs: 50 } } });
    bridge.dingtalk.faults.duplicateAcked(1, 20);
    const push = await bridge.dingtalk.say({ text: "einmal" });
    await bridge.dingtalk.until("redelivered");
    await expect.poll(() => bridge?.logs.text.includes("message repeated by DingTalk")).toBe(true);
    await bridge.restart();
    const again = await bridge.dingtalk.push({
      type: "CALLBACK",
      topic: "/v1.0/im/bot/messages/get",
      data: push.body,
    });
    await again.acked();
    expect(bridge.gateway.taken).toHaveLength(1);
    expect(bridge.gateway.received).toHaveLength(1);
  });

  it("delivers what was stored while the gateway was away and the bridge was restarted", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "answer", status: 503 } } });
    await (await bridge.dingtalk.say({ text: "vor dem Neustart" })).acked();
    await bridge.restart();
    bridge.gateway.mode = { kind: "echo" };
    expect(await bridge.dingtalk.until("sent", () => true, 10_000)).toMatchObject({ text: "收到:vor dem Neustart" });
  });

  it("keeps an unreadable push as a dead letter, and one withheld by DingTalk, and says so", async () => {
    bridge = await startBridge();
    await (
      await bridge.dingtalk.push({ type: "CALLBACK", topic: "/v1.0/im/bot/messages/get", data: { no: "ids" } })
    ).acked();
    bridge.dingtalk.faults.exhaust("units");
    await (await bridge.dingtalk.say({ text: "zu viel" })).acked();
    const listed = (await (await bridge.api("GET", "/v1/dead-letters")).json()) as {
      deadLetters: { error: { code: string } }[];
    };
    expect(listed.deadLetters.map(({ error }) => error.code)).toEqual(["quota_exhausted", "unreadable"]);
    expect(bridge.gateway.received).toEqual([]);
  });

  it("asks about envelopes that the gateway answered 202, in order, before each later one, until 200", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "held", times: 2, retryAfterS: 60 } } });
    const posts = (): string[] =>
      bridge?.gateway.received.map(
        ({ envelope, status }) => `${envelope.type === "message" ? envelope.message.text : ""} ${status}`,
      ) ?? [];
    const say = async (text: string, expected: string[]): Promise<void> => {
      const before = posts().length;
      await (await bridge?.dingtalk.say({ text }))?.acked();
      await expect.poll(() => posts().slice(before)).toEqual(expected);
    };
    await say("eins", ["eins 202"]);
    await say("zwei", ["eins 202", "zwei 202"]);
    await say("drei", ["eins 200", "zwei 202", "drei 202"]);
    bridge.gateway.mode = { kind: "echo" };
    await say("vier", ["zwei 200", "drei 200", "vier 200"]);
    const replies = ["收到:eins", "收到:zwei", "收到:drei", "收到:vier"];
    await expect.poll(() => bridge?.dingtalk.sent.map(({ text }) => text)).toEqual(replies);
  });
});

describe("what an operator sees", () => {
  it("logs one line per message with the sender's ids, and no secret anywhere", async () => {
    bridge = await startBridge();
    const push = await bridge.dingtalk.say({ text: "wer bin ich" });
    await bridge.dingtalk.until("sent");
    const lines = bridge.logs.lines.filter(({ msg }) => msg === "message received and stored");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      senderStaffId: "staff001",
      senderId: field(push, "senderId"),
      conversationId: field(push, "conversationId"),
    });
    for (const secret of [APP.appSecret, "session=", "ticket=", field(push, "sessionWebhook")]) {
      expect(bridge.logs.text).not.toContain(secret);
    }
  });

  it("names a missing plugin, keeps the message, and delivers it when the plugin is there", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "answer", status: 404 } } });
    await (await bridge.dingtalk.say({ text: "hallo?" })).acked();
    await expect.poll(() => bridge?.logs.text).toContain("no channel plugin");
    bridge.gateway.mode = { kind: "echo" };
    expect(await bridge.dingtalk.until("sent", () => true, 10_000)).toMatchObject({ text: "收到:hallo?" });
  });

  it("takes a page of HTML with status 200 for another service, not for a taken message", async () => {
    bridge = await startBridge({
      gateway: { mode: { kind: "answer", status: 200, contentType: "text/html", body: "<!doctype html>" } },
    });
    await (await bridge.dingtalk.say({ text: "nicht verloren" })).acked();
    await expect.poll(() => bridge?.logs.text).toContain("no channel plugin");
    bridge.gateway.mode = { kind: "echo" };
    expect(await bridge.dingtalk.until("sent", () => true, 10_000)).toMatchObject({ text: "收到:nicht verloren" });
  });

  it("is healthy while connected and names what is wrong otherwise", async () => {
    bridge = await startBridge();
    const health = async (): Promise<{ status: number; body: { status: string; mends: string[] } }> => {
      const response = await fetch(new URL("/healthz", bridge?.url), { headers: { connection: "close" } });
      return { status: response.status, body: (await response.json()) as { status: string; mends: string[] } };
    };
    await expect.poll(health).toMatchObject({ status: 200, body: { status: "ok", mends: [] } });
    await bridge.gateway.close();
    await bridge.restart();
    await expect.poll(health).toMatchObject({ status: 200, body: { status: "degraded" } });
  });

  it("calls itself down when the only account has wrong credentials, and says what to do", async () => {
    bridge = await startBridge({ env: { DINGTALK_APP_SECRET: "not-the-secret-of-it" }, unconnected: true });
    await expect
      .poll(() => bridge?.app.health().components["stream:main"])
      .toMatchObject({ code: "stream_bad_credentials" });
    expect(bridge.app.health().components["stream:main"]?.mend).toMatch(/App Secret|Client Secret/);
    expect(bridge.logs.text).not.toContain("not-the-secret-of-it");
  });
});
