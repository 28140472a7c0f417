import { afterEach, describe, expect, it } from "vitest";
import { NOTICES } from "../../src/domain/notices.ts";
import { PersonLimit } from "../../src/flows/person-limit.ts";
import { entry, openStore } from "../queue/helpers.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";

const HOUR = 3_600_000;
/** 12:00 in Shanghai. */
const NOON = Date.UTC(2030, 5, 10, 4);

describe("counting", () => {
  const make = (options: { perDay?: number; exempt?: string[] } = {}) => {
    const clock = { time: NOON, now: () => clock.time, monotonic: () => 0 };
    const store = openStore();
    return { clock, store, limit: new PersonLimit({ store, perDay: 2, exempt: [], clock, ...options }) };
  };
  const take = (limit: PersonLimit, account: string, sender: string): boolean =>
    limit.take(account, sender, () => false) !== "over";
  const takes = (limit: PersonLimit, sender: string, count: number): boolean[] =>
    Array.from({ length: count }, () => take(limit, "main", sender));

  it("is per person and account, and begins anew at midnight in Shanghai", () => {
    const { clock, limit } = make();
    expect(takes(limit, "a", 3)).toEqual([true, true, false]);
    expect([take(limit, "main", "b"), take(limit, "other", "a")]).toEqual([true, true]);
    clock.time += 12 * HOUR - 1;
    expect(take(limit, "main", "a")).toBe(false);
    clock.time += 1;
    expect(takes(limit, "a", 3)).toEqual([true, true, false]);
  });

  it("is off with 0, and not for those who are exempt", () => {
    expect(takes(make({ perDay: 0 }).limit, "a", 5)).not.toContain(false);
    const { limit } = make({ exempt: ["boss"] });
    expect(takes(limit, "boss", 5)).not.toContain(false);
    expect(takes(limit, "a", 3)).toContain(false);
  });

  it("goes on after a restart with what the store has of today, and no more", async () => {
    const { store, limit } = make();
    const message = (name: string, fields: object) =>
      store.append(entry(name, { sender: "a", createdAt: NOON, ...fields }));
    await message("yesterday", { createdAt: NOON - 13 * HOUR });
    await message("over", { cancelled: { code: "person_limit", detail: "" } });
    await message("withheld", { dead: { code: "quota_exhausted", detail: "" } });
    await message("reply", { queue: "outbox" });
    await message("other", { sender: "b" });
    await message("counts", {});
    expect(takes(limit, "a", 2)).toEqual([true, false]);
  });

  it("leaves out what is known, and gives back what was not new", () => {
    const { limit } = make();
    for (let n = 0; n < 5; n += 1) expect(limit.take("main", "a", () => true)).toBe("uncounted");
    takes(limit, "a", 2);
    limit.giveBack("main", "a");
    limit.giveBack("main", "nobody");
    expect(takes(limit, "a", 2)).toEqual([true, false]);
  });
});

describe("in the bridge", () => {
  let bridge: TestBridge;
  afterEach(() => bridge.close());
  const LIMIT = { BRIDGE_LIMITS_PER_PERSON_PER_DAY: "3" };
  const sent = (): string[] => bridge.dingtalk.sent.map(({ text }) => text);
  const line = NOTICES.personLimit["zh-CN"];

  it("lets so many through, all at once or over a restart, says one line, and stops nobody else", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: LIMIT });
    const say = async (text: string, from = "staff001"): Promise<unknown> =>
      (await bridge.dingtalk.say({ text, from })).acked();
    await Promise.all(Array.from({ length: 6 }, (_, n) => say(`${n}`)));
    await expect.poll(() => bridge.gateway.taken.length).toBe(3);
    await expect.poll(sent).toEqual([line]);
    await bridge.restart();
    await say("too many");
    await say("other", "staff002");
    await expect.poll(() => bridge.gateway.taken.length).toBe(4);
    expect(bridge.gateway.taken.at(-1)).toMatchObject({ message: { text: "other" } });
    expect(sent()).toEqual([line]);
    expect(await (await bridge.api("GET", "/v1/dead-letters")).json()).toMatchObject({ deadLetters: [] });
  });

  it("takes a repetition for nothing, and lets a stop word through", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: LIMIT });
    bridge.dingtalk.faults.duplicateAcked(2);
    const say = async (text: string): Promise<unknown> => (await bridge.dingtalk.say({ text })).acked();
    for (const text of ["1", "2", "3", "4"]) await say(text);
    const texts = (): string[] =>
      bridge.gateway.taken.map((one) => (one.type === "message" ? one.message.text : "")).toSorted();
    await expect.poll(texts).toEqual(["1", "2", "3"]);
    await say("/stop");
    await expect.poll(texts).toEqual(["/stop", "1", "2", "3"]);
    expect(bridge.dingtalk.acks).toHaveLength(7);
    await expect.poll(sent).toEqual([line]);
  });
});
