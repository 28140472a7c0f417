import { afterEach, describe, expect, it } from "vitest";
import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND_TOKEN, startTwo } from "../support/two-accounts.ts";
import { QUICK, appeared, cardCalls, cardOf, ended, finish, messages, open, put, settled } from "./stream-support.ts";

const OWN = "01234567-89ab-cdef-0123-456789abcdef.schema";
const silent = {
  gateway: { mode: { kind: "silent" } },
  dingtalk: { knobs: { cardTemplates: [OWN, publicTemplate] } },
} as const;

let bridge: TestBridge;
afterEach(() => bridge.close());

describe("the template", () => {
  it.each([
    ["with its usual key", {}, "content"],
    ["with a key of its own", { DINGTALK_CARD_TEMPLATE_KEY: "answer" }, "answer"],
  ])("may be one's own, %s", async (_, env, key) => {
    bridge = await startBridge({ ...silent, env: { ...QUICK, DINGTALK_CARD_TEMPLATE_ID: OWN, ...env } });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    expect(await appeared(bridge, id)).toMatchObject({ templateId: OWN, params: { [key]: "一" } });
    await finish(bridge, id, "一二");
    expect((await ended(bridge, id)).params[key]).toBe("一二");
  });

  it("may be none", async () => {
    bridge = await startBridge({ ...silent, env: { ...QUICK, DINGTALK_CARD_TEMPLATE_ID: "off" } });
    const { id, mode } = await open(bridge, { format: "card" });
    expect(mode).toBe("buffered");
    await put(bridge, id, 0, "一");
    await finish(bridge, id, "一二");
    await settled(bridge);
    expect([cardCalls(bridge), messages(bridge)]).toEqual([[], ["一二"]]);
  });
});

it("an account's own section goes before what holds for all", async () => {
  const reply = { format: "card", cardTemplateId: OWN, cardTemplateKey: "theirs" };
  bridge = await startTwo({ ...silent, env: { ...QUICK, BRIDGE_REPLY_FORMAT: "markdown" } }, { reply });
  const mine = await open(bridge);
  expect(mine.mode).toBe("buffered");
  const opened = await bridge.api("POST", "/v1/streams", { to: "user:staff001" }, SECOND_TOKEN);
  const theirs = (await opened.json()) as { id: string; mode: string };
  expect(theirs.mode).toBe("card");
  // Nobody grows what is another account's.
  expect(await put(bridge, theirs.id, 0, "x")).toEqual([404, "stream_unknown"]);
  await bridge.api("PUT", `/v1/streams/${theirs.id}`, { seq: 0, text: "一" }, SECOND_TOKEN);
  expect(await appeared(bridge, theirs.id)).toMatchObject({ templateId: OWN, params: { theirs: "一" } });
});

it.each([
  ["true", "一\n\n（回复中断）"],
  ["false", "一"],
])("a reply that its gateway left says so, or not: %s", async (on, text) => {
  bridge = await startBridge({ ...silent, env: { ...QUICK, BRIDGE_NOTICES_INTERRUPTED: on } });
  const { id } = await open(bridge, { idleTimeoutMs: 1_000 });
  await put(bridge, id, 0, "一");
  expect((await ended(bridge, id)).params["msgContent"]).toBe(text);
  expect(cardOf(bridge, id)?.flowStatus).toBe("3");
});

describe("what is told of replies that grow", () => {
  const status = async (): Promise<unknown> =>
    ((await (await bridge.api("GET", "/v1/status")).json()) as { accounts: { openReplies: unknown }[] }).accounts[0]
      ?.openReplies;
  const metrics = async (): Promise<string[]> => (await (await bridge.api("GET", "/metrics")).text()).split("\n");

  it("is how many are open, how they show and end, and what they cost", async () => {
    bridge = await startBridge({ ...silent, env: QUICK });
    const card = await open(bridge);
    const plain = await open(bridge, { to: "user:staff002", format: "markdown", idleTimeoutMs: 1_000 });
    expect(await status()).toEqual({ card: 0, buffered: 2 });
    await put(bridge, card.id, 0, "一");
    await appeared(bridge, card.id);
    await expect.poll(status).toEqual({ card: 1, buffered: 1 });
    expect(await metrics()).toContain('dingtalk_bridge_replies_open{account="main",shown="card"} 1');
    await put(bridge, plain.id, 0, "二");
    await expect.poll(status, { timeout: 5_000 }).toEqual({ card: 1, buffered: 0 });
    await put(bridge, card.id, 1, "一二");
    await expect.poll(() => cardOf(bridge, card.id)?.params["msgContent"]).toBe("一二");
    await finish(bridge, card.id, "一二三");
    await finish(bridge, (await open(bridge)).id, "");
    await settled(bridge);
    expect(await status()).toEqual({ card: 0, buffered: 0 });
    const told = await metrics();
    for (const line of [
      'replies_open{account="main",shown="card"} 0',
      'replies_ended_total{account="main",by="gateway",shown="card"} 1',
      'replies_ended_total{account="main",by="idle",shown="message"} 1',
      'replies_ended_total{account="main",by="gateway",shown="nothing"} 1',
      'first_text_seconds_count{account="main"} 1',
    ]) {
      expect(told).toContain(`dingtalk_bridge_${line}`);
    }
    expect(told.some((line) => line.includes('card_updates_total{account="main",result="delivered"}'))).toBe(true);
    const calls = cardCalls(bridge).length - 1;
    expect(bridge.logs.lines.filter(({ msg }) => msg === "a reply that grew has ended")).toMatchObject([
      { level: 30, streamId: plain.id, finishedBy: "idle", shown: "message", calls: 0 },
      { level: 30, streamId: card.id, finishedBy: "gateway", shown: "card", calls, characters: 3 },
      { finishedBy: "gateway", shown: "nothing", calls: 0, characters: 0 },
    ]);
  });
});
