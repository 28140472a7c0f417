import { afterAll, beforeAll, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { cardOf, finish, open, put, settled } from "./stream-support.ts";

const STREAMS = 100;
const PER_SECOND = 15;

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: {
      BRIDGE_REPLY_CARD_INTERVAL: "200",
      BRIDGE_REPLY_CARD_MAX_INTERVAL: "200",
      BRIDGE_QUOTA_PLAN: "professional",
      BRIDGE_LIMITS_CARD_PER_SECOND: String(PER_SECOND),
    },
    // DingTalk refuses what is more.
    dingtalk: { knobs: { cardQps: PER_SECOND } },
  });
});
afterAll(() => bridge.close());

it("100 replies at once keep the limit, and all of them end", { timeout: 110_000 }, async () => {
  const streams = await Promise.all(
    Array.from({ length: STREAMS }, async (_, n) => {
      const staffId = `staff5${n}`;
      bridge.dingtalk.addUser({ staffId, name: "王五" });
      return (await open(bridge, { to: `user:${staffId}` })).id;
    }),
  );
  for (let seq = 1; seq <= 5; seq++) {
    await Promise.all(streams.map((id) => put(bridge, id, seq, "字".repeat(seq))));
  }
  const made = () => streams.filter((id) => cardOf(bridge, id)?.delivered).length;
  await expect.poll(made, { timeout: 60_000 }).toBe(STREAMS);
  await Promise.all(streams.map((id, n) => finish(bridge, id, `完${n}`)));
  await settled(bridge);
  for (const [n, id] of streams.entries()) {
    expect(cardOf(bridge, id)).toMatchObject({ flowStatus: "3", params: { msgContent: `完${n}` }, deliveries: 1 });
  }
  const times = bridge.dingtalk.requests.filter(({ api }) => api.startsWith("card/")).map(({ at }) => at);
  const busiest = Math.max(
    ...times.map((at, index) => times.slice(index).filter((other) => other < at + 1_000).length),
  );
  expect(busiest).toBeLessThanOrEqual(PER_SECOND);
  const refused = bridge.dingtalk.requests.filter(({ api, code }) => api.startsWith("card/") && code !== "ok");
  expect(refused).toEqual([]);
  expect(bridge.dingtalk.sent).toEqual([]);
  expect(bridge.dingtalk.problems).toEqual([]);
});
