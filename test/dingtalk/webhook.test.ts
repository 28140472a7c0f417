import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sendByWebhook } from "../../src/dingtalk/webhook.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import type { NamedError } from "../../src/sandbox/dingtalk-errors.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Caller, closedPort, startCaller, startServer } from "../support/dingtalk-http.ts";

let sim: DingtalkSimulator;
let caller: Caller;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [{ appKey: "dingapp1", appSecret: "secret-of-app-1" }] });
  caller = startCaller(2_000);
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await sim.close();
});

const text = { type: "text", text: "你好" } as const;

async function webhook(said: Parameters<DingtalkSimulator["say"]>[0] = { text: "hi" }): Promise<string> {
  const { body } = await sim.say(said);
  return (body as { sessionWebhook: string }).sessionWebhook;
}

describe("a message by session webhook", () => {
  test("text arrives, without an id to recall it by", async () => {
    const outcome = await sendByWebhook(caller.call, {
      webhookUrl: await webhook(),
      content: text,
      clock: { now: () => 1_769_851_697_756, monotonic: () => 0 },
    });
    expect(outcome).toEqual({ kind: "delivered", receipt: { route: "webhook", at: 1_769_851_697_756 } });
    expect(sim.sent).toMatchObject([{ msgtype: "text", text: "你好", mentions: [] }]);
    expect(sim.requests.at(-1)).toMatchObject({ body: { msgtype: "text", text: { content: "你好" } } });
  });

  test("Markdown arrives with its title", async () => {
    const content = { type: "markdown", title: "标题", text: "# 标题\n\n- a" } as const;
    expect(await sendByWebhook(caller.call, { webhookUrl: await webhook(), content })).toMatchObject({
      kind: "delivered",
    });
    expect(sim.sent).toMatchObject([{ msgtype: "markdown", title: "标题", text: "# 标题\n\n- a" }]);
  });
});

describe("mentions", () => {
  const bodyOf = async (content: Parameters<typeof sendByWebhook>[1]["content"], mentions: object) => {
    const webhookUrl = await webhook({ text: "hi", group: "测试群" });
    expect(await sendByWebhook(caller.call, { webhookUrl, content, mentions })).toMatchObject({ kind: "delivered" });
    return sim.requests.at(-1)?.body as Record<
      string,
      { content?: string; text?: string; atUserIds?: string[]; isAtAll?: boolean }
    >;
  };

  test("stand in the text and in `at`", async () => {
    const body = await bodyOf(text, { userIds: ["staff001", "staff002", "staff001"] });
    expect(body).toMatchObject({
      text: { content: "你好 @staff001 @staff002" },
      at: { atUserIds: ["staff001", "staff002"], isAtAll: false },
    });
    expect(sim.sent).toMatchObject([{ mentions: ["staff001", "staff002"] }]);
  });

  test("are not added where they stand already; a longer id is another one", async () => {
    const said = { type: "text", text: "@staff001，看 @staff0021" } as const;
    const body = await bodyOf(said, { userIds: ["staff001", "staff002"] });
    expect(body["text"]).toEqual({ content: "@staff001，看 @staff0021 @staff002" });
  });

  test("follow Markdown as a paragraph of their own", async () => {
    const body = await bodyOf({ type: "markdown", title: "t", text: "- a" }, { userIds: ["staff001"] });
    expect(body["markdown"]).toEqual({ title: "t", text: "- a\n\n@staff001" });
  });

  test("are at most 50", async () => {
    const userIds = Array.from({ length: 60 }, (_, index) => `staff${100 + index}`);
    const body = await bodyOf(text, { userIds });
    expect(body["at"]?.atUserIds).toEqual(userIds.slice(0, 50));
    expect(body["text"]?.content).toMatch(/@staff149$/);
  });

  test("of everybody", async () => {
    expect(await bodyOf(text, { all: true })).toMatchObject({
      text: { content: "你好" },
      at: { atUserIds: [], isAtAll: true },
    });
  });
});

describe("what is refused", () => {
  const rows: [NamedError, object][] = [
    ["sessionUnknown", { kind: "rejected", code: "webhook_expired" }],
    ["webhookTooFast", { kind: "retry", class: "peer-away", code: "recipient_throttled", afterMs: 60_000 }],
    ["webhookThrottled", { kind: "retry", class: "peer-away", code: "recipient_throttled", afterMs: 60_000 }],
    ["oapiQpsLimit", { kind: "retry", class: "peer-away", code: "dingtalk_throttled", afterMs: 2_000 }],
    ["ipBlockedHtml", { kind: "retry", class: "peer-away", code: "dingtalk_ip_blocked", afterMs: 300_000 }],
    ["ipBlockedJson", { kind: "retry", class: "peer-away", code: "dingtalk_ip_blocked", afterMs: 300_000 }],
    ["webhookOverLimit", { kind: "retry", class: "peer-away", code: "dingtalk_quota_exhausted", afterMs: 3_600_000 }],
    ["oapiBusy", { kind: "retry", class: "entry", code: "dingtalk_unavailable" }],
    ["webhookTransient", { kind: "retry", class: "entry", code: "dingtalk_unavailable" }],
    ["badGateway", { kind: "retry", class: "entry", code: "dingtalk_unavailable" }],
    ["oapiInvalidToken", { kind: "rejected", code: "webhook_expired" }],
  ];
  test.each(rows)("%s", async (error, expected) => {
    const webhookUrl = await webhook();
    sim.faults.api("sendBySession", { kind: "error", error });
    expect(await sendByWebhook(caller.call, { webhookUrl, content: text })).toMatchObject(expected);
    expect(sim.calls({ api: "sendBySession" })).toHaveLength(1);
  });

  test("an expired webhook, by DingTalk itself", async () => {
    const webhookUrl = await webhook();
    sim.faults.expireWebhooks();
    const outcome = await sendByWebhook(caller.call, { webhookUrl, content: text });
    expect(outcome).toMatchObject({
      kind: "rejected",
      code: "webhook_expired",
      detail: expect.stringContaining("DingTalk: 200 300001: session 不存在"),
    });
  });

  test("too long a message, by DingTalk itself", async () => {
    const content = { type: "text", text: "字".repeat(7_000) } as const;
    const outcome = await sendByWebhook(caller.call, { webhookUrl: await webhook(), content });
    expect(outcome).toMatchObject({ kind: "rejected", code: "message_too_long" });
  });

  test.each(["", "oapi.dingtalk.com/robot", "file:///etc/passwd", "ftp://oapi.dingtalk.com/x?session=hidden"])(
    "%j, which is no webhook: nothing is sent",
    async (webhookUrl) => {
      const outcome = await sendByWebhook(caller.call, { webhookUrl, content: text });
      expect(outcome).toMatchObject({ kind: "rejected", code: "webhook_expired" });
      expect(JSON.stringify(outcome)).not.toContain("hidden");
    },
  );
});

describe("the network", () => {
  test.each([
    ["reset", { kind: "uncertain", code: "dingtalk_unavailable" }],
    ["hang", { kind: "uncertain", code: "dingtalk_timeout" }],
    ["truncated", { kind: "uncertain", code: "dingtalk_bad_answer" }],
    ["shortBody", { kind: "uncertain", code: "dingtalk_bad_answer" }],
  ] as const)("%s after the message arrived", async (kind, expected) => {
    await caller[Symbol.asyncDispose]();
    caller = startCaller(300);
    const webhookUrl = await webhook();
    sim.faults.api("sendBySession", { kind, executed: true });
    expect(await sendByWebhook(caller.call, { webhookUrl, content: text })).toMatchObject(expected);
    expect(sim.sent).toHaveLength(1);
  });

  test("refused: surely not sent", async () => {
    const webhookUrl = `http://127.0.0.1:${await closedPort()}/robot/sendBySession?session=hidden-session`;
    const outcome = await sendByWebhook(caller.call, { webhookUrl, content: text });
    expect(outcome).toMatchObject({ kind: "retry", class: "peer-away", code: "dingtalk_unreachable" });
  });

  test("given up", async () => {
    const signal = AbortSignal.abort();
    const outcome = await sendByWebhook(caller.call, { webhookUrl: await webhook(), content: text, signal });
    expect(outcome).toMatchObject({ kind: "retry", code: "interrupted" });
    expect(sim.sent).toEqual([]);
  });
});

describe("what is told", () => {
  test("never holds the session, even when the answer quotes it", async () => {
    const session = "5f0c9a1b2c3d4e5f";
    const quoting = (url: string) => JSON.stringify({ errcode: 310000, errmsg: `refused: ${url} ${session}` });
    await using json = await startServer((request, response) => response.end(quoting(request.url ?? "")));
    await using html = await startServer((request, response) => {
      response.writeHead(404).end(`<html>The requested URL ${request.url} was not found`);
    });
    const told: unknown[] = [];
    for (const base of [json.url, html.url, `http://127.0.0.1:${await closedPort()}`, "http//bad"]) {
      const webhookUrl = `${base}/robot/sendBySession?session=${session}`;
      told.push(await sendByWebhook(caller.call, { webhookUrl, content: text }));
    }
    const webhookUrl = await webhook();
    told.push(await sendByWebhook(caller.call, { webhookUrl, content: text }));

    const everything = JSON.stringify(told) + caller.logged();
    expect(everything).toContain("/robot/sendBySession");
    expect(everything).not.toContain(session);
    expect(everything).not.toContain(new URL(webhookUrl).searchParams.get("session"));
  });

  test("is counted and timed", async () => {
    const metrics = createMetrics();
    const message = { webhookUrl: await webhook(), content: text, observer: { account: "main", metrics } };
    await sendByWebhook(caller.call, message);
    sim.faults.expireWebhooks();
    await sendByWebhook(caller.call, message);
    const { values } = await metrics.sends.get();
    expect(values).toMatchObject([
      { value: 1, labels: { account: "main", endpoint: "webhook", code: "ok" } },
      { value: 1, labels: { account: "main", endpoint: "webhook", code: "webhook_expired" } },
    ]);
    expect(await metrics.registry.metrics()).toContain('dingtalk_bridge_send_seconds_count{endpoint="webhook"} 2');
  });
});
