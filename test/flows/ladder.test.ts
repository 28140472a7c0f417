import { afterEach, describe, expect, it } from "vitest";
import { Alarms } from "../support/alarms.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { appeared, cardOf, ended, finish, open, put, settled, shownOn } from "./stream-support.ts";

const DAY = 24 * 3_600_000;
const CALLS = 200;
const AFTER = 4_000;
const UPDATE = "card/streaming";
const FEW = {
  BRIDGE_QUOTA_CALLS: String(CALLS),
  // One update at most, about a second after the card's creation; half of it is none.
  BRIDGE_REPLY_CARD_UPDATES: "1",
  BRIDGE_REPLY_CARD_INTERVAL: "200",
  BRIDGE_LIMITS_API_PER_SECOND: "1000",
  BRIDGE_LIMITS_CONVERSATION_PER_SECOND: "1000",
};

let bridge: TestBridge;
afterEach(() => bridge.close());

/** A wall clock that begins at noon of the month's first day, in Shanghai, and can be moved. */
function calendar() {
  const start = Date.now();
  const first = Date.parse("2026-11-01T12:00:00+08:00");
  const clock = {
    ahead: 0,
    now: () => first + clock.ahead + (Date.now() - start),
    monotonic: () => performance.now(),
  };
  return clock;
}

/** So many days after the first noon, DingTalk's clock with it. */
function goTo(clock: ReturnType<typeof calendar>, days: number): void {
  clock.ahead = days * DAY;
  bridge.dingtalk.setKnobs({ clockSkewMs: clock.now() - Date.now() });
}

interface Organisation {
  ladder: number;
  calls: { used: number; projected: number | null };
}

async function quota(): Promise<Organisation> {
  const body = (await (await bridge.api("GET", "/v1/status")).json()) as { quota: { organisations: [Organisation] } };
  return body.quota.organisations[0];
}

async function metric(name: string): Promise<number | undefined> {
  const text = await (await bridge.api("GET", "/metrics")).text();
  const line = text.split("\n").find((one) => one.startsWith(`dingtalk_bridge_${name}{`));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
}

/** One Open API call for each. */
async function spend(times: number): Promise<void> {
  const body = { to: "user:staff002", content: { type: "text", text: "x" } };
  for (let n = 0; n < times; n += 1) await bridge.api("POST", "/v1/messages", body);
  await settled(bridge);
}

/** Spends until the ladder has this rung; how much was used just before. */
async function climb(to: number): Promise<void> {
  for (let tries = 0; (await quota()).ladder < to; tries += 1) {
    expect(tries).toBeLessThan(CALLS);
    await spend(2);
  }
  expect(await quota()).toMatchObject({ ladder: to });
  expect((await quota()).calls.used).toBeGreaterThanOrEqual(CALLS / 4);
  expect(await metric("quota_ladder")).toBe(to);
}

const updates = (id: string): number =>
  bridge.dingtalk.requests.filter(({ api, body }) => {
    const { outTrackId, isFinalize } = (body ?? {}) as { outTrackId?: string; isFinalize?: boolean };
    return api === UPDATE && isFinalize !== true && outTrackId === id.replace("st_", "br_");
  }).length;

/** Begins a reply to somebody who has written nothing, so that no webhook is there. */
let people = 0;
async function begin(extra: object = {}): Promise<{ id: string; mode: string; staffId: string }> {
  people += 1;
  const staffId = `staff8${people}`;
  bridge.dingtalk.addUser({ staffId, name: "王五" });
  const opened = await open(bridge, { to: `user:${staffId}`, ...extra });
  await put(bridge, opened.id, 0, "一");
  return { ...opened, staffId };
}

async function end(id: string): Promise<void> {
  await finish(bridge, id, "一二三");
  await settled(bridge);
}

/** A reply is a card that is updated. */
async function isLively(extra: object = {}): Promise<void> {
  const { id, mode } = await begin(extra);
  expect(mode).toBe("card");
  await appeared(bridge, id);
  await put(bridge, id, 1, "一二");
  await expect.poll(() => shownOn(bridge, id), { timeout: 10_000 }).toBe("一二");
  expect(updates(id)).toBe(1);
  await end(id);
  await ended(bridge, id);
}

/** A reply is one Markdown message by the Open API, of one call. */
async function isMessage(): Promise<void> {
  const { calls } = await quota();
  const { id, mode, staffId } = await begin();
  expect(mode).toBe("buffered");
  await put(bridge, id, 1, "一二");
  await end(id);
  expect(cardOf(bridge, id)).toBeUndefined();
  const sent = bridge.dingtalk.sent.filter(({ userIds }) => userIds?.includes(staffId));
  expect(sent).toMatchObject([{ route: "oto", msgKey: "sampleMarkdown", text: "一二三" }]);
  expect((await quota()).calls.used).toBe(calls.used + 1);
}

describe("a month of replies", () => {
  it(
    "that runs ahead of the calendar: fewer updates, then messages, then no reaction, and back",
    { timeout: 90_000 },
    async () => {
      const clock = calendar();
      const alarms = new Alarms();
      bridge = await startBridge({
        dingtalk: { knobs: { qps: 0, qpm: 0, platformQps: 0, robotPerMinute: 0 } },
        gateway: { mode: { kind: "silent" } },
        env: FEW,
        overrides: { clock, indicatorAlarm: alarms.alarm },
      });
      goTo(clock, 0);
      /** Work begins on what a person has just said; whether the reaction is attached. */
      const works = async (): Promise<void> => {
        const push = await bridge.dingtalk.say({ text: "hi" });
        await push.acked();
        const { msgId } = push.body as { msgId: string };
        await bridge.api("PUT", "/v1/activity", { inReplyTo: `main:${msgId}`, state: "working" });
        expect(alarms.ring(AFTER)).toBe(1);
      };
      const reactions = (): number => bridge.dingtalk.calls({ api: "emotion/reply" }).length;

      await isLively();
      // However fast it goes: the first quarter is for all.
      await spend(CALLS / 4 - 1 - (await quota()).calls.used);
      const soon = await quota();
      expect(soon.calls.projected).toBeGreaterThan(2 * CALLS);
      expect(soon.ladder).toBe(0);
      expect(await metric("quota_ladder")).toBe(0);

      goTo(clock, 9);
      expect(await quota()).toMatchObject({ ladder: 0 });
      await climb(1);
      const slow = await begin();
      expect(slow.mode).toBe("card");
      await appeared(bridge, slow.id);
      await put(bridge, slow.id, 1, "一二");
      // Its time comes later, and it has its update.
      await isLively({ format: "card" });
      expect(updates(slow.id)).toBe(0);
      expect(shownOn(bridge, slow.id)).toBe("一");

      await climb(2);
      await isMessage();
      await isLively({ format: "card" });
      // What its caller asked for outlives a restart.
      const asked = await open(bridge, { to: "user:staff001", format: "card" });
      await bridge.restart();
      await put(bridge, asked.id, 0, "一");
      await appeared(bridge, asked.id);
      await end(asked.id);
      // A card that was there ends as one.
      await end(slow.id);
      expect((await ended(bridge, slow.id)).params["msgContent"]).toBe("一二三");
      await works();
      await expect.poll(reactions).toBe(1);

      await climb(3);
      await isMessage();
      await isLively({ format: "card" });
      const before = alarms.set;
      await works();
      // One that is attached has an alarm that ends it.
      expect(alarms.set).toEqual(before);

      // The calendar has caught up.
      goTo(clock, 20);
      expect(await quota()).toMatchObject({ ladder: 0 });
      expect(await metric("quota_ladder")).toBe(0);
      await isLively();
      await works();
      await expect.poll(reactions).toBe(2);

      await climb(3);
      // The month ends at 00:00 in Shanghai.
      goTo(clock, 29.6);
      expect(await quota()).toMatchObject({ ladder: 0, calls: { used: 0 } });
      await isLively();
      expect(bridge.dingtalk.problems).toEqual([]);
    },
  );
});
