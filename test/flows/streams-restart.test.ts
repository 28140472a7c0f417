import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
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

const NOTE = "（回复中断）";
const CREATE = "card/instances/createAndDeliver";
const STREAM = "card/streaming";

let bridge: TestBridge;
const start = async (graceMs: number): Promise<void> => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: QUICK,
    overrides: { replyTimings: { graceMs, lateCreationMs: 100 } },
  });
};
afterEach(() => bridge.close());

const said = (text: string): number => bridge.logs.lines.filter(({ msg }) => String(msg).includes(text)).length;

describe("a reply that is open when the bridge starts again", () => {
  beforeEach(() => start(30_000));

  it("goes on with its card", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 7, "一");
    await appeared(bridge, id);
    await bridge.restart();
    expect(await put(bridge, id, 3, "旧")).toBe(204);
    await put(bridge, id, 8, "一二");
    await expect.poll(() => shownOn(bridge, id), { timeout: 10_000 }).toBe("一二");
    await bridge.restart();
    await finish(bridge, id, "一二三");
    expect(await ended(bridge, id)).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("gets its card later where it had none", async () => {
    const { id } = await open(bridge);
    await bridge.restart();
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    await finish(bridge, id, "一二");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二");
  });

  it.each([true, false])("finds out whether its card was made (it was: %s)", async (executed) => {
    const { id } = await open(bridge);
    bridge.dingtalk.faults.api(CREATE, { kind: "reset", executed });
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("no answer to the creation")).toBeGreaterThan(0);
    await bridge.restart();
    bridge.dingtalk.faults.clear();
    await put(bridge, id, 1, "一二");
    await expect.poll(() => shownOn(bridge, id), { timeout: 10_000 }).toBe("一二");
    await finish(bridge, id, "一二三");
    expect(await ended(bridge, id)).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
  });

  it.each([true, false])("ends though it is not known whether its card was made (it was: %s)", async (executed) => {
    const { id } = await open(bridge);
    bridge.dingtalk.faults.api(CREATE, { kind: "reset", executed });
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("no answer to the creation")).toBeGreaterThan(0);
    await bridge.restart();
    bridge.dingtalk.faults.clear();
    await finish(bridge, id, "一二三");
    expect(await ended(bridge, id)).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
  });

  it("keeps its last text over a stop, also without a card", async () => {
    const { id } = await open(bridge, { format: "markdown", idleTimeoutMs: 1_000 });
    await put(bridge, id, 0, "一半");
    await bridge.restart();
    await expect.poll(() => messages(bridge), { timeout: 10_000 }).toEqual([`一半\n\n${NOTE}`]);
  });

  it("whose card was full sends the rest", async () => {
    const text = Array.from({ length: 400 }, (_, index) => `第${index}段`).join("\n\n");
    const long = `${text}\n\n${"文".repeat(3_000)}`;
    const { id } = await open(bridge);
    await put(bridge, id, 0, long);
    await ended(bridge, id);
    await bridge.restart();
    await finish(bridge, id, `${long}\n\n完`);
    await settled(bridge);
    const paragraphs = [shownOn(bridge, id) ?? "", ...messages(bridge)].join("\n\n").match(/第\d+段|完|文+/g);
    expect(paragraphs?.join("").replaceAll(/文+/g, "文")).toBe(`${text.replaceAll("\n\n", "")}文完`);
    expect(cardCalls(bridge)).toEqual(["instances/createAndDeliver", "streaming"]);
  });

  it("was finished before: the card ends all the same, and the same finish is a duplicate", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    bridge.dingtalk.faults.api(STREAM, { kind: "error", error: "unavailable" });
    const { id: message } = await finish(bridge, id, "一二三");
    await bridge.restart();
    expect(await finish(bridge, id, "一二三")).toMatchObject({ id: message, duplicate: true });
    expect(cardOf(bridge, id)?.flowStatus).not.toBe("3");
    bridge.dingtalk.faults.clear();
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二三");
    expect(bridge.dingtalk.problems).toEqual([]);
  });
});

describe("a reply of which nothing is heard", () => {
  beforeEach(() => start(200));

  it("after a start ends with what is known, and a note; what comes later is sent once", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一半");
    await appeared(bridge, id);
    await bridge.restart();
    expect((await ended(bridge, id)).params["msgContent"]).toBe(`一半\n\n${NOTE}`);
    expect(await put(bridge, id, 1, "一半多")).toEqual([409, "stream_closed"]);
    const late = { text: "全部", to: "user:staff001" };
    const first = await finish(bridge, id, late.text, late);
    expect(await finish(bridge, id, late.text, late)).toMatchObject({ id: first.id, duplicate: true });
    expect(await refusedFinish(bridge, id, { ...late, text: "别的" })).toEqual([409, "stream_closed"]);
    await settled(bridge);
    expect(messages(bridge)).toEqual(["全部"]);
  });

  it("for its idle time ends likewise", async () => {
    const { id } = await open(bridge, { idleTimeoutMs: 1_000 });
    await put(bridge, id, 5, "一半");
    await appeared(bridge, id);
    expect((await ended(bridge, id)).params["msgContent"]).toBe(`一半\n\n${NOTE}`);
    // All of it was said.
    expect(await finish(bridge, id, "一半", { to: "user:staff001" })).toMatchObject({ duplicate: true });
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
  });

  it("and that never said anything ends in silence", async () => {
    const { id } = await open(bridge, { idleTimeoutMs: 1_000 });
    await bridge.restart();
    await expect.poll(() => said("a reply that grew has ended")).toBe(1);
    expect(await put(bridge, id, 0, "太晚")).toEqual([409, "stream_closed"]);
    await settled(bridge);
    expect(bridge.dingtalk.cards).toEqual([]);
    expect(messages(bridge)).toEqual([]);
  });
});

it("a card whose end has to wait for longer than a message may ends all the same", async () => {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead, monotonic: () => performance.now() };
  const env = { ...QUICK, BRIDGE_DELIVERY_MAX_AGE: "1m" };
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env, overrides: { clock } });
  const { id } = await open(bridge);
  await put(bridge, id, 0, "一");
  await appeared(bridge, id);
  bridge.dingtalk.faults.api(STREAM, { kind: "answer", status: 503, body: { code: "system.busy", message: "no" } });
  clock.ahead = 2 * 60 * 60_000;
  bridge.dingtalk.setKnobs({ clockSkewMs: clock.ahead });
  await finish(bridge, id, "一二");
  const refused = (): number =>
    bridge.dingtalk.requests.filter(({ api, status }) => api === STREAM && status === 503).length;
  await expect.poll(refused, { timeout: 10_000 }).toBeGreaterThan(0);
  clock.ahead = 30 * 60 * 60_000;
  const before = refused();
  await expect.poll(refused, { timeout: 15_000 }).toBeGreaterThan(before);
  bridge.dingtalk.faults.clear();
  expect((await ended(bridge, id)).flowStatus).toBe("3");
  expect(await (await bridge.api("GET", "/v1/dead-letters")).json()).toMatchObject({ deadLetters: [] });
}, 60_000);
