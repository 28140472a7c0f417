import { afterEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const text = (value: string) => ({ type: "text", text: value });

async function send(body: object): Promise<Record<string, unknown>> {
  const response = await bridge?.api("POST", "/v1/messages", body, { prefer: "wait=15" });
  return (await response?.json()) as Record<string, unknown>;
}

describe("the road of a reply", () => {
  it("@-s people of a group through the webhook", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    const push = await bridge.dingtalk.say({ text: "hi", group: "测试群" });
    await push.acked();
    const { conversationId } = push.body as { conversationId: string };
    await send({ to: `conversation:${conversationId}`, content: text("看一下"), mentions: { userIds: ["staff002"] } });
    expect(bridge.dingtalk.sent).toMatchObject([
      { route: "webhook", mentions: ["staff002"], text: "看一下 @staff002" },
    ]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("leaves a webhook alone in the last margin of its life", async () => {
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      env: { BRIDGE_DELIVERY_WEBHOOK_MARGIN: "59m" },
      dingtalk: { knobs: { webhookTtlMs: 30 * 60_000 } },
    });
    await (await bridge.dingtalk.say({ text: "hi" })).acked();
    await send({ to: "user:staff001", content: text("per API") });
    expect(bridge.dingtalk.sent).toMatchObject([{ route: "oto" }]);
  });

  it("has none to a stranger whose webhook has expired: a dead letter that says so", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    const push = await bridge.dingtalk.say({ text: "hi", payload: { senderStaffId: null } });
    await push.acked();
    bridge.dingtalk.faults.expireWebhooks();
    const { conversationId } = push.body as { conversationId: string };
    const state = await send({ to: `conversation:${conversationId}`, content: text("?") });
    expect(state).toMatchObject({ status: "dead", error: { code: "no_route" } });
  });

  it("refreshes an expired token once and sends", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    await send({ to: "user:staff001", content: text("eins") });
    bridge.dingtalk.faults.expireTokens();
    expect(await send({ to: "user:staff001", content: text("zwei") })).toMatchObject({
      status: "delivered",
      attempts: 0,
    });
    const tokens = bridge.dingtalk.requests.filter(({ api }) => api === "oauth2/accessToken");
    expect(tokens).toHaveLength(2);
  });
});

describe("order and limits", () => {
  it("keeps what was sent to a person before the first message in front of the replies to it", async () => {
    bridge = await startBridge();
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable", count: 1 });
    const first = await bridge.api("POST", "/v1/messages", { to: "user:staff001", content: text("zuerst") });
    expect(first.status).toBe(202);
    await (await bridge.dingtalk.say({ text: "danach" })).acked();
    await expect
      .poll(() => bridge?.dingtalk.sent.map((one) => one.text), { timeout: 15_000 })
      .toEqual(["zuerst", "收到:danach"]);
  });

  it("never sends more per second to one API than is allowed, as DingTalk counts", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: { BRIDGE_LIMITS_API_PER_SECOND: "5" } });
    const sends = Array.from({ length: 16 }, (_, n) =>
      send({ to: `user:staff${String(n % 8).padStart(3, "0")}`, content: text(`${n}`) }),
    );
    await Promise.all(sends);
    expect(bridge.dingtalk.busiest(1_000, { api: "oToMessages/batchSend" })).toBeLessThanOrEqual(5);
  });
});

describe("what is not certain", () => {
  const lost = { kind: "hang", executed: true, count: 1 } as const;

  it("is sent again and marked, by default", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { ...lost, kind: "reset" });
    const state = await send({ to: "user:staff001", content: text("vielleicht zweimal") });
    expect(state).toMatchObject({ status: "delivered", uncertain: true });
    expect(bridge.dingtalk.sent).toHaveLength(2);
  });

  it("is held for a person to look at with onUncertain=hold", async () => {
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      env: { BRIDGE_DELIVERY_ON_UNCERTAIN: "hold" },
    });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { ...lost, kind: "reset" });
    const state = await send({ to: "user:staff001", content: text("einmal") });
    expect(state).toMatchObject({ status: "dead", uncertain: true });
    expect(bridge.dingtalk.sent).toHaveLength(1);
  });

  it("goes on with the first part that was not delivered", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "systemError", skip: 1, count: 1 });
    const long = `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`;
    expect(await send({ to: "user:staff001", content: text(long) })).toMatchObject({
      status: "delivered",
      attempts: 1,
    });
    expect(bridge.dingtalk.sent.map((one) => one.text[0])).toEqual(["甲", "乙"]);
  });

  it("is not sent after its ttl", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "qpsLimit", count: 1 });
    const state = await send({ to: "user:staff001", content: text("zu spät"), ttlMs: 1_000 });
    expect(state).toMatchObject({ status: "dead", error: { code: "too_old" } });
    expect(bridge.dingtalk.sent).toEqual([]);
  });
});
