import { afterEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

const HOUR = 3_600_000;
let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

/** Our clock, as somebody sets it; DingTalk's own (the simulator's) stays right. */
function clock() {
  const time = { offset: 0 };
  return { time, now: () => Date.now() + time.offset, monotonic: () => performance.now() };
}

const reply = async (): Promise<string | undefined> => {
  const body = { to: "user:staff001", content: { type: "text", text: "ok" } };
  await bridge?.api("POST", "/v1/messages", body, { prefer: "wait=10" });
  return bridge?.dingtalk.sent.at(-1)?.route;
};

describe("our clock is wrong", () => {
  it.each([HOUR, -HOUR])("by %i ms from the start: a webhook is used while DingTalk calls it fresh", async (offset) => {
    const ours = clock();
    ours.time.offset = offset;
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      overrides: { clock: ours },
      dingtalk: { knobs: { webhookTtlMs: 30 * 60_000 } },
    });
    await (await bridge.dingtalk.say({ text: "hi" })).acked();
    expect(await reply()).toBe("webhook");
  });

  it.each([HOUR, -HOUR])("and is set by %i ms: the same webhook is used, messages go both ways", async (step) => {
    const ours = clock();
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      overrides: { clock: ours, watch: { everyMs: 20 } },
      dingtalk: { knobs: { webhookTtlMs: 30 * 60_000 } },
    });
    await (await bridge.dingtalk.say({ text: "hi" })).acked();
    ours.time.offset = step;
    await expect.poll(() => bridge?.logs.lines.find(({ stepMs }) => stepMs !== undefined)).toBeDefined();
    expect(await reply()).toBe("webhook");
    await (await bridge.dingtalk.say({ text: "and on" })).acked();
    await expect.poll(() => bridge?.gateway.taken.length).toBe(2);
  });

  it("behind DingTalk's: a webhook that has expired there is not used", async () => {
    const ours = clock();
    ours.time.offset = -HOUR;
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      overrides: { clock: ours },
      // In the last minute of its life, which is kept clear.
      dingtalk: { knobs: { webhookTtlMs: 30_000 } },
    });
    await (await bridge.dingtalk.say({ text: "hi" })).acked();
    expect(await reply()).toBe("oto");
    expect(bridge.dingtalk.requests.filter(({ api }) => api.includes("session"))).toEqual([]);
  });

  it.each([HOUR, -HOUR])(
    "is set by %i ms while a message waits for the gateway: it arrives, and is not too old",
    async (step) => {
      const ours = clock();
      bridge = await startBridge({
        gateway: { mode: { kind: "answer", status: 503, retryAfterS: 1 } },
        overrides: { clock: ours, watch: { everyMs: 20 } },
      });
      await (await bridge.dingtalk.say({ text: "patience" })).acked();
      await expect.poll(() => bridge?.logs.text).toContain("entry is tried again later");
      ours.time.offset = step;
      await expect.poll(() => bridge?.logs.lines.find(({ stepMs }) => stepMs !== undefined)).toBeDefined();
      await expect.poll(() => bridge?.gateway.received.length, { timeout: 15_000 }).toBeGreaterThan(1);
      bridge.gateway.mode = { kind: "silent" };
      await expect
        .poll(() => bridge?.gateway.taken.map((one) => one.type === "message" && one.message.text), { timeout: 15_000 })
        .toEqual(["patience"]);
    },
  );
});
