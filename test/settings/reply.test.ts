import { expect, it, onTestFinished } from "vitest";
import { QUICK, appeared, ended, finish, open, put, shownOn } from "../flows/stream-support.ts";
import type { TestBridge } from "../support/bridge.ts";
import { SECOND_TOKEN, startTwo } from "../support/two-accounts.ts";
import { bridgeWith } from "./support.ts";

const FIRST = "零";

it("BRIDGE_REPLY_DIRECT, BRIDGE_REPLY_GROUP: how replies look by the kind of conversation", async () => {
  for (const [env, modes] of [
    [{ BRIDGE_REPLY_DIRECT: "markdown" }, ["buffered", "card"]],
    [{ BRIDGE_REPLY_GROUP: "markdown" }, ["card", "buffered"]],
  ] as const) {
    const bridge = await bridgeWith({ ...QUICK, ...env });
    const push = await bridge.dingtalk.say({ text: "hi", group: "测试群" });
    await push.acked();
    const { conversationId } = push.body as { conversationId: string };
    const direct = await open(bridge);
    const group = await open(bridge, { to: `conversation:${conversationId}` });
    expect([direct.mode, group.mode]).toEqual(modes);
  }
});

/** A reply by the common settings, shown, and beside it one of an account whose own settings update it every 200 ms without end. */
async function twoReplies(env: Record<string, string>): Promise<{ bridge: TestBridge; id: string; quick: string }> {
  const reply = { cardIntervalMs: 200, cardMaxIntervalMs: 200, cardUpdates: 0 };
  const bridge = await startTwo({ gateway: { mode: { kind: "silent" } }, env: { ...QUICK, ...env } }, { reply });
  onTestFinished(() => bridge.close());
  const opened = await bridge.api("POST", "/v1/streams", { to: "user:staff002" }, SECOND_TOKEN);
  const quick = ((await opened.json()) as { id: string }).id;
  const { id } = await open(bridge);
  await put(bridge, id, 0, FIRST);
  await appeared(bridge, id);
  return { bridge, id, quick };
}

/** The reply beside it grows for so long, each step shown: what was due in this time has been done. */
async function meanwhile(bridge: TestBridge, quick: string, updates: number): Promise<void> {
  for (let seq = 1; seq <= updates; seq += 1) {
    await bridge.api("PUT", `/v1/streams/${quick}`, { seq, text: `${seq}` }, SECOND_TOKEN);
    await expect.poll(() => shownOn(bridge, quick), { timeout: 5_000 }).toBe(`${seq}`);
  }
}

it("BRIDGE_REPLY_CARD_INTERVAL: a card is not updated before", async () => {
  const { bridge, id, quick } = await twoReplies({
    BRIDGE_REPLY_CARD_INTERVAL: "1m",
    BRIDGE_REPLY_CARD_MAX_INTERVAL: "1m",
  });
  await put(bridge, id, 1, "一");
  await meanwhile(bridge, quick, 12);
  expect(shownOn(bridge, id)).toBe(FIRST);
  await finish(bridge, id, "一二");
  expect((await ended(bridge, id)).params["msgContent"]).toBe("一二");
});

it("BRIDGE_REPLY_CARD_UPDATES: a card is not updated more often", async () => {
  const { bridge, id, quick } = await twoReplies({ BRIDGE_REPLY_CARD_UPDATES: "1" });
  await put(bridge, id, 1, "一");
  await expect.poll(() => shownOn(bridge, id), { timeout: 5_000 }).toBe("一");
  await put(bridge, id, 2, "一二");
  await meanwhile(bridge, quick, 8);
  expect(shownOn(bridge, id)).toBe("一");
});

/** Each within a time that is too short for the usual settings. */
async function expectUpdates(bridge: TestBridge, times: number): Promise<void> {
  const { id } = await open(bridge);
  await put(bridge, id, 0, FIRST);
  await appeared(bridge, id);
  for (let seq = 1; seq <= times; seq += 1) {
    await put(bridge, id, seq, `${seq}`);
    await expect.poll(() => shownOn(bridge, id), { timeout: 3_000 }).toBe(`${seq}`);
  }
}

it("BRIDGE_REPLY_CARD_MAX_INTERVAL: the interval grows no further", async () => {
  await expectUpdates(await bridgeWith({ ...QUICK, BRIDGE_REPLY_CARD_MAX_INTERVAL: "200" }), 12);
});

it("BRIDGE_QUOTA_PLAN: a plan with more calls has cards updated more often", async () => {
  await expectUpdates(await bridgeWith({ ...QUICK, BRIDGE_QUOTA_PLAN: "professional" }), 8);
});

it("BRIDGE_LIMITS_CARD_PER_SECOND: so many calls of the card APIs in a second, as DingTalk counts", async () => {
  const most = 3;
  const bridge = await bridgeWith({ ...QUICK, BRIDGE_LIMITS_CARD_PER_SECOND: String(most) });
  const people = Array.from({ length: 8 }, (_, n) => `staff5${n}`);
  for (const staffId of people) bridge.dingtalk.addUser({ staffId, name: "王五" });
  const ids = await Promise.all(people.map(async (one) => (await open(bridge, { to: `user:${one}` })).id));
  await Promise.all(ids.map((id) => put(bridge, id, 0, FIRST)));
  for (const id of ids) await appeared(bridge, id);
  const times = bridge.dingtalk.requests.filter(({ api }) => api.startsWith("card/")).map(({ at }) => at);
  const counts = times.map((at, index) => times.slice(index).filter((other) => other < at + 1_000).length);
  expect(Math.max(...counts)).toBeLessThanOrEqual(most);
});
