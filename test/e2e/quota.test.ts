import { afterEach, describe, expect, it } from "vitest";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";

const HOUR = 3_600_000;
const TIGHT = { BRIDGE_QUOTA_CALLS: "1000", BRIDGE_QUOTA_UNITS: "20" };

let bridge: TestBridge;
afterEach(() => bridge.close());

interface Budget {
  used: number;
  closed: object | null;
  byClass: Record<string, number>;
}

/** The first organisation of the status. */
async function status(): Promise<{ organisation: string; calls: Budget; units: Budget; ladder: number }> {
  const body = (await (await bridge.api("GET", "/v1/status")).json()) as { quota: { organisations: [never] } };
  return body.quota.organisations[0];
}

async function say(text: string, group?: string): Promise<string> {
  const push = await bridge.dingtalk.say({ text, ...(group !== undefined && { group }) });
  await push.acked();
  return (push.body as { conversationId: string }).conversationId;
}

async function send(to: string, options: { text?: string; at?: string } = {}): Promise<Record<string, unknown>> {
  const content = { type: "text", text: options.text ?? "hi" };
  const mentions = options.at === undefined ? {} : { mentions: { userIds: [options.at] } };
  const response = await bridge.api("POST", "/v1/messages", { to, content, ...mentions }, { prefer: "wait=15" });
  return (await response.json()) as Record<string, unknown>;
}

const routes = (): string[] => bridge.dingtalk.sent.map(({ route }) => route);
const silent = { gateway: { mode: { kind: "silent" } } } as const;

/** A clock that can be moved, DingTalk's with it. */
function movable() {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead, monotonic: () => performance.now() };
  return clock;
}

async function move(clock: { ahead: number }, ms: number): Promise<void> {
  clock.ahead += ms;
  bridge.dingtalk.setKnobs({ clockSkewMs: clock.ahead });
  // Brings the offset of DingTalk's clock and a webhook of the new time.
  await say("time passes");
}

describe("our count", () => {
  it("is DingTalk's own, over a restart", async () => {
    bridge = await startBridge(silent);
    await say("one");
    await say("two");
    const group = await say("three", "测试群");
    await send("user:staff001");
    await send("user:staff002");
    await send("user:nobody");
    await send(`conversation:${group}`, { text: "@", at: "staff002" });
    await send("conversation:cidNoSuchGroup==");
    await bridge.restart();
    await say("four");
    await send("user:staff001", { text: `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}` });
    const { calls, units, organisation } = await status();
    expect({ calls: calls.used, units: units.used }).toEqual(bridge.dingtalk.usage());
    expect(units.byClass).toEqual({ inbound: 4, webhook: 4 });
    expect(calls.byClass).toEqual({ oto: 2, group: 1 });
    expect(organisation).toMatch(/^ding/);
  });

  it("leaves out what was throttled and what is free", async () => {
    bridge = await startBridge(silent);
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "qpsLimit", count: 1 });
    bridge.dingtalk.faults.expireTokens();
    expect(await send("user:staff002")).toMatchObject({ status: "delivered" });
    expect((await status()).calls.byClass).toEqual({ oto: 1 });
    expect(bridge.dingtalk.usage()).toEqual({ calls: 1, units: 0 });
  });

  it("takes a repeated push for one", async () => {
    bridge = await startBridge({ ...silent, dingtalk: { knobs: { redeliveries: 1 } } });
    bridge.dingtalk.faults.duplicateAcked(1);
    await say("twice");
    await bridge.dingtalk.until("ack", () => bridge.dingtalk.acks.length === 2);
    expect((await status()).units.used).toBe(1);
  });
});

describe("the road", () => {
  it("turns from the webhook to the Open API at a quarter of the units, but not for an @, and never ends by our count", async () => {
    bridge = await startBridge({ ...silent, env: TIGHT });
    const group = await say("hi", "测试群");
    const to = `conversation:${group}`;
    for (let n = 0; n < 5; n += 1) await send(to);
    expect(routes()).toEqual(["webhook", "webhook", "webhook", "webhook", "group"]);
    await send(to, { text: "@", at: "staff002" });
    expect(routes().at(-1)).toBe("webhook");
    for (let n = 0; n < 20; n += 1) await say("more", "测试群");
    await send(to, { text: "@", at: "staff002" });
    await send(to);
    expect(routes().slice(-2)).toEqual(["webhook", "group"]);
    expect((await status()).units).toMatchObject({ used: 27, closed: null });
  });

  it("goes back to the webhook when the Open API lacks the permission", async () => {
    bridge = await startBridge({
      ...silent,
      env: TIGHT,
      dingtalk: { apps: [{ ...APP, missingScopes: ["qyapi_robot_sendmsg"] }] },
    });
    for (let n = 0; n < 6; n += 1) await say("hi");
    expect(await send("user:staff001")).toMatchObject({ status: "delivered", parts: [{ route: "webhook" }] });
    expect(bridge.dingtalk.requests.map(({ api }) => api)).toContain("oToMessages/batchSend");
  });
});

describe("the other road", () => {
  it("may be away just when the webhook has expired: the reply waits for it", async () => {
    bridge = await startBridge(silent);
    await say("hi");
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable" });
    const strangers = Array.from({ length: 6 }, (_, n) => `user:staff10${n}`);
    const content = { type: "text", text: "?" };
    await Promise.all(strangers.map((to) => bridge.api("POST", "/v1/messages", { to, content })));
    await expect.poll(() => bridge.logs.text).toContain("peer is away");
    bridge.dingtalk.faults.expireWebhooks();
    const waiting = send("user:staff001");
    await bridge.dingtalk.until("request", ({ code }) => code === "300001");
    bridge.dingtalk.faults.clear();
    expect(await waiting).toMatchObject({ status: "delivered", parts: [{ route: "open-api" }] });
  });
});

describe("a budget that DingTalk refuses", () => {
  it("calls: replies go by webhook, else they are dead letters; an hour later one tries, a month later all", async () => {
    const clock = movable();
    // Far enough from the end of the month for the hours of the test.
    clock.ahead = Date.UTC(2030, 5, 10) - Date.now();
    bridge = await startBridge({
      ...silent,
      overrides: { clock },
      dingtalk: { knobs: { clockSkewMs: clock.ahead } },
    });
    await say("hi");
    bridge.dingtalk.faults.exhaust("calls");
    const dead = await send("user:staff002");
    expect(dead).toMatchObject({ status: "dead", error: { code: "quota_exhausted" } });
    expect(await send("user:staff001")).toMatchObject({ parts: [{ route: "webhook" }] });
    const asked = (): number => bridge.dingtalk.calls({ api: "oToMessages/batchSend" }).length;
    expect(asked()).toBe(1);
    await bridge.restart();
    expect(await send("user:staff002")).toMatchObject({ status: "dead" });
    expect(asked()).toBe(1);
    const health = (await (await fetch(`${bridge.url}/healthz`)).json()) as { status: string; mends: string[] };
    expect(health).toMatchObject({ status: "degraded", mends: [expect.stringContaining("资源管理")] });

    await move(clock, HOUR);
    // The probe is a reply: refused, it goes on by its webhook.
    expect(await send("user:staff001")).toMatchObject({ parts: [{ route: "webhook" }] });
    expect(asked()).toBe(2);
    await send("user:staff001");
    expect(asked()).toBe(2);

    bridge.dingtalk.setKnobs({ monthlyCalls: Number.POSITIVE_INFINITY });
    await move(clock, HOUR);
    expect(await send("user:staff001")).toMatchObject({ parts: [{ route: "open-api" }] });
    expect((await status()).calls.closed).toBeNull();

    bridge.dingtalk.faults.exhaust("calls");
    await send("user:staff002");
    expect((await status()).calls.closed).not.toBeNull();
    await move(clock, 25 * 24 * HOUR);
    expect((await status()).calls).toMatchObject({ used: 0, closed: null });
    bridge.dingtalk.setKnobs({ monthlyCalls: Number.POSITIVE_INFINITY });
    const replayed = await bridge.api("POST", `/v1/dead-letters/${String(dead["id"])}/replay`);
    expect(replayed.ok).toBe(true);
    await expect
      .poll(() => bridge.dingtalk.sent.filter(({ userIds }) => userIds?.includes("staff002")))
      .toHaveLength(1);
  });

  it("units: the message is kept as a dead letter, replies go by the Open API, and a message with its text ends it", async () => {
    bridge = await startBridge(silent);
    const conversation = await say("hi");
    bridge.dingtalk.faults.exhaust("units");
    await say("withheld");
    const { units } = await status();
    expect(units).toMatchObject({ used: 1, closed: { detail: expect.stringContaining("20001") } });
    expect(await send(`conversation:${conversation}`)).toMatchObject({ parts: [{ route: "open-api" }] });
    expect(bridge.dingtalk.calls({ api: "sendBySession" })).toEqual([]);
    expect(await (await bridge.api("GET", "/v1/dead-letters")).json()).toMatchObject({
      deadLetters: [{ queue: "inbox", error: { code: "quota_exhausted" } }],
    });
    bridge.dingtalk.setKnobs({ monthlyUnits: 100 });
    await bridge.restart();
    await say("again");
    expect((await status()).units).toMatchObject({ used: 2, closed: null });
    expect(await send(`conversation:${conversation}`)).toMatchObject({ parts: [{ route: "webhook" }] });
  });

  it("units, refused at a webhook (90030): the same reply goes by the Open API", async () => {
    bridge = await startBridge(silent);
    await say("hi");
    bridge.dingtalk.faults.exhaust("units");
    expect(await send("user:staff001")).toMatchObject({ status: "delivered", parts: [{ route: "open-api" }] });
    const { calls, units } = await status();
    expect({ calls: calls.used, units: units.used }).toEqual(bridge.dingtalk.usage());
    expect(units.closed).not.toBeNull();
  });

  it("both: dead letters at once, and nothing more is asked", async () => {
    bridge = await startBridge(silent);
    await say("hi");
    bridge.dingtalk.faults.exhaust("units");
    bridge.dingtalk.faults.exhaust("calls");
    for (let n = 0; n < 3; n += 1) {
      expect(await send("user:staff001")).toMatchObject({ status: "dead", error: { code: "quota_exhausted" } });
    }
    const sends = bridge.dingtalk.requests.filter(({ api }) => /sendBySession|batchSend/.test(api));
    expect(sends.map(({ code }) => code)).toEqual(["90030", "Forbidden.AccessDenied.ApiCountLimitForOrg"]);
    expect((await status()).ladder).toBe(3);
  });
});
