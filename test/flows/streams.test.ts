import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { openGroup, sendContent } from "../support/outbound.ts";
import {
  QUICK,
  appeared,
  cardCalls,
  cardOf,
  ended,
  finish,
  messages,
  open,
  put,
  refusedFinish,
  settled,
  shownOn,
} from "./stream-support.ts";

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: QUICK });
});
afterAll(() => bridge.close());
afterEach(async () => {
  await settled(bridge);
  expect(bridge.dingtalk.problems).toEqual([]);
  bridge.dingtalk.reset();
});

describe("a reply that grows", () => {
  it("is a card from its first text on, grows, and is finished", async () => {
    const { id, mode } = await open(bridge);
    expect(mode).toBe("card");
    expect(await put(bridge, id, 0, "  ")).toBe(204);
    expect(bridge.dingtalk.cards).toHaveLength(0);
    await put(bridge, id, 1, "一");
    expect(await appeared(bridge, id)).toMatchObject({ params: { msgContent: "一" }, userId: "staff001" });
    await put(bridge, id, 2, "一二");
    await expect.poll(() => shownOn(bridge, id)).toBe("一二");
    const finished = await finish(bridge, id, "一二三");
    expect(finished).toMatchObject({ duplicate: false, status: "queued" });
    const card = await ended(bridge, id);
    expect(card).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
    expect(messages(bridge)).toEqual([]);
    expect(cardCalls(bridge).filter((api) => api === "instances/createAndDeliver")).toHaveLength(1);
  });

  it("is shown in a group", async () => {
    const group = await openGroup(bridge);
    const { id } = await open(bridge, { to: `conversation:${group}` });
    await put(bridge, id, 0, "群里");
    expect(await appeared(bridge, id)).toMatchObject({ spaceType: "IM_GROUP", conversationId: group });
    await finish(bridge, id, "群里好");
    await ended(bridge, id);
  });

  it("shows the newest text, whatever comes late, and one update at a time", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 5, "五");
    await appeared(bridge, id);
    bridge.dingtalk.faults.api("card/streaming", { kind: "slow", delayMs: 300, count: 1 });
    await bridge.dingtalk.waitFor("request", ({ api }) => api === "card/streaming", 10_000);
    for (let seq = 6; seq < 40; seq++) await put(bridge, id, seq, `五${seq}`);
    expect(await put(bridge, id, 3, "三")).toBe(204);
    await expect.poll(() => shownOn(bridge, id)).toBe("五39");
    const streaming = bridge.dingtalk.requests.filter(({ api }) => api === "card/streaming");
    for (const [index, { at, durationMs }] of streaming.entries()) {
      const next = streaming[index + 1];
      if (next) expect(next.at).toBeGreaterThanOrEqual(at + durationMs - 1);
    }
    await finish(bridge, id, "");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("五39");
  });

  it("says what is being done below the text, until it is finished", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "正文", { status: "正在\n搜索" });
    await expect.poll(() => shownOn(bridge, id)).toBe("正文\n\n> 正在 搜索");
    await finish(bridge, id, "正文完");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("正文完");
  });

  it("is sent as a message when it ends before DingTalk was asked for a card", async () => {
    const { id } = await open(bridge);
    await finish(bridge, id, "很快");
    await settled(bridge);
    expect(messages(bridge)).toEqual(["很快"]);
    expect(bridge.dingtalk.cards).toEqual([]);
  });

  it("fails with its text, or with a note where there is none", async () => {
    const one = await open(bridge);
    await put(bridge, one.id, 0, "一半");
    await appeared(bridge, one.id);
    await finish(bridge, one.id, "一半,出错", { outcome: "failed" });
    expect((await ended(bridge, one.id, "5")).params["msgContent"]).toBe("一半,出错");
    const other = await open(bridge);
    await put(bridge, other.id, 0, "另一半");
    await appeared(bridge, other.id);
    await finish(bridge, other.id, "", { outcome: "failed" });
    expect((await ended(bridge, other.id, "5")).params["msgContent"]).toBe("另一半\n\n（回复中断）");
  });
});

describe("the end of a reply", () => {
  it("comes once: the same again is a duplicate, another is refused, and nothing more is shown", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "好");
    await appeared(bridge, id);
    const both = await Promise.all([finish(bridge, id, "好了"), finish(bridge, id, "好了")]);
    expect(both.filter(({ duplicate }) => duplicate)).toHaveLength(1);
    expect(both[0]?.id).toBe(both[1]?.id);
    await ended(bridge, id);
    await settled(bridge);
    expect(await finish(bridge, id, "好了")).toEqual({ id: both[0]?.id, duplicate: true, status: "delivered" });
    expect(await refusedFinish(bridge, id, { text: "不好" })).toEqual([409, "stream_closed"]);
    expect(await put(bridge, id, 9, "更多")).toEqual([409, "stream_closed"]);
    expect(messages(bridge)).toEqual([]);
  });

  it("of an unknown stream is refused, or sent once as a message where it says where to", async () => {
    const id = "st_00000000-0000-4000-8000-000000000000";
    expect(await put(bridge, id, 0, "x")).toEqual([404, "stream_unknown"]);
    expect(await refusedFinish(bridge, id, { text: "x" })).toEqual([404, "stream_unknown"]);
    const first = await finish(bridge, id, "迟到", { to: "user:staff001" });
    const again = await finish(bridge, id, "迟到", { to: "user:staff001" });
    expect(again).toMatchObject({ id: first.id, duplicate: true });
    expect(await refusedFinish(bridge, id, { text: "别的", to: "user:staff001" })).toEqual([409, "stream_closed"]);
    await settled(bridge);
    expect(messages(bridge)).toEqual(["迟到"]);
  });

  it("without any text sends nothing where there is no card", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "");
    expect(await finish(bridge, id, "")).toEqual({ id, duplicate: false, status: "delivered" });
    expect(await finish(bridge, id, "")).toMatchObject({ duplicate: true });
    await settled(bridge);
    expect(bridge.dingtalk.sent).toEqual([]);
    expect(bridge.dingtalk.cards).toEqual([]);
  });

  it("may say something else than what was streamed", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "猜测");
    await appeared(bridge, id);
    await finish(bridge, id, "结论");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("结论");
    expect(messages(bridge)).toEqual([]);
  });

  it("cannot be called off or recalled like a message", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    const finished = await finish(bridge, id, "一二");
    await settled(bridge);
    const cancelled = await bridge.api("DELETE", `/v1/messages/${finished.id}`);
    expect([cancelled.status, ((await cancelled.json()) as { code: string }).code]).toEqual([409, "not_cancellable"]);
    expect(cardOf(bridge, id)?.flowStatus).toBe("3");
  });
});

describe("the place of a card", () => {
  it("is taken only when nothing of its conversation waits; what is accepted later goes below", async () => {
    const group = await openGroup(bridge);
    const to = `conversation:${group}`;
    bridge.dingtalk.faults.api("webhook", { kind: "slow", delayMs: 500, count: 1 });
    const first = bridge.api("POST", "/v1/messages", { to, content: { type: "text", text: "先" } });
    await first;
    const { id } = await open(bridge, { to });
    await put(bridge, id, 0, "后");
    bridge.dingtalk.faults.api("card/instances/createAndDeliver", { kind: "slow", delayMs: 300, count: 1 });
    await expect.poll(() => bridge.dingtalk.requests.some(({ api }) => api.endsWith("createAndDeliver"))).toBe(true);
    await bridge.api("POST", "/v1/messages", { to, content: { type: "text", text: "再后" } });
    await finish(bridge, id, "后来");
    await ended(bridge, id);
    await settled(bridge);
    const places = [...bridge.dingtalk.sent, ...bridge.dingtalk.cards].toSorted((a, b) => a.seq - b.seq);
    expect(places.map((one) => ("text" in one ? one.text : one.params["msgContent"]))).toEqual(["先", "后来", "再后"]);
  });
});

describe("a conversation named like a card's lane, or a person's", () => {
  it.each(["conversation:card:br_1", "conversation:user:staff001"])("is none: %s", async (to) => {
    const message = { to, content: { type: "text", text: "x" } };
    for (const [path, body] of [
      ["/v1/messages", message],
      ["/v1/streams", { to }],
      ["/v1/streams/st_unknown/finish", { text: "x", outcome: "done", to }],
    ] as const) {
      const refused = await bridge.api("POST", path, body);
      expect(refused.status).toBe(400);
      expect(await refused.json()).toMatchObject({ code: "invalid_request", detail: expect.stringContaining("to") });
    }
  });
});

describe("a person whose conversation becomes known", () => {
  it("meanwhile gets the card once the messages before it are sent", async () => {
    bridge.dingtalk.addUser({ staffId: "staff888", name: "王五" });
    bridge.dingtalk.faults.api("robot/oToMessages/batchSend", { kind: "slow", delayMs: 500, count: 1 });
    const to = "user:staff888";
    await bridge.api("POST", "/v1/messages", { to, content: { type: "text", text: "先" } });
    await expect.poll(() => bridge.dingtalk.requests.some(({ path }) => path.includes("batchSend"))).toBe(true);
    const { id } = await open(bridge, { to });
    await put(bridge, id, 0, "后");
    await (await bridge.dingtalk.say({ text: "在吗", from: "staff888" })).acked();
    await appeared(bridge, id);
    await finish(bridge, id, `后来${"。".repeat(4_000)}`);
    await ended(bridge, id);
    await settled(bridge);
    expect(messages(bridge)[0]).toBe("先");
    expect(new Set(bridge.dingtalk.sent.map(({ conversationId }) => conversationId)).size).toBe(1);
  });
});

describe("a reply without a card", () => {
  it.each([
    ["markdown", "webhook"],
    ["text", "webhook"],
  ])("is one %s message at its end", async (format) => {
    await openGroup(bridge);
    const { id, mode } = await open(bridge, { format });
    expect(mode).toBe("buffered");
    await put(bridge, id, 0, "# 一");
    await finish(bridge, id, "# 一\n\n二");
    await settled(bridge);
    expect(bridge.dingtalk.cards).toEqual([]);
    expect(bridge.dingtalk.sent).toMatchObject([{ text: expect.stringContaining("二") }]);
    const [sent] = bridge.dingtalk.sent;
    expect(`${sent?.msgtype ?? ""}${sent?.msgKey ?? ""}`.toLowerCase()).toContain(format);
  });

  it("does not disturb ordinary messages", async () => {
    expect(await sendContent(bridge, { type: "text", text: "普通" })).toMatchObject({ status: "delivered" });
    expect(cardOf(bridge, "st_none")).toBeUndefined();
  });
});
