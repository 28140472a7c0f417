import { afterEach, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

it("says which conversations have waited more than a minute, and that none does any more", async () => {
  let now = Date.now();
  bridge = await startBridge({
    gateway: { mode: { kind: "answer", status: 404 } },
    overrides: {
      clock: { now: () => now, monotonic: () => performance.now() },
      lagEveryMs: 20,
      watch: { everyMs: 60_000 },
    },
  });
  await (await bridge.dingtalk.say({ text: "waiting" })).acked();
  const status = async () =>
    (await (await bridge?.api("GET", "/v1/status"))?.json()) as { queues: { inbox: object }; peers: object[] };
  expect((await status()).queues.inbox).toMatchObject({ open: 1, laggingConversations: 0 });
  now += 61_000;
  await expect.poll(async () => (await status()).queues.inbox).toMatchObject({ laggingConversations: 1 });
  await expect.poll(() => bridge?.logs.text).toContain("conversations lag more than a minute");
  expect(await (await bridge.api("GET", "/metrics")).text()).toContain(
    'dingtalk_bridge_lagging_lanes{queue="inbox"} 1',
  );
  await expect.poll(async () => (await status()).peers).toContainEqual({ name: "gateway", open: false });
  bridge.gateway.mode = { kind: "echo" };
  await expect
    .poll(async () => (await status()).queues.inbox, { timeout: 10_000 })
    .toMatchObject({ open: 0, laggingConversations: 0 });
  expect((await status()).peers).toContainEqual({ name: "gateway", open: true });
  expect(bridge.logs.text).toContain("no conversation lags any more");
});
