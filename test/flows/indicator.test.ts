import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SimulatedReaction } from "../../src/sandbox/dingtalk-card-types.ts";
import { Alarms } from "../support/alarms.ts";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND, SECOND_TOKEN, startTwo } from "../support/two-accounts.ts";

const AFTER = 4_000;
const LIFE = 600_000;
const MINUTE = 60_000;

let bridge: TestBridge;
let alarms: Alarms;
beforeEach(() => {
  alarms = new Alarms();
});
afterEach(() => bridge.close());

async function start(options: Parameters<typeof startBridge>[0] = {}): Promise<void> {
  const { overrides, ...rest } = options;
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    overrides: { indicatorAlarm: alarms.alarm, ...overrides },
    ...rest,
  });
}

/** Somebody says something; the envelope's id. */
async function said(text = "hi", options: { app?: string } = {}): Promise<string> {
  const push = await bridge.dingtalk.say({ text, ...options });
  await push.acked();
  const { msgId } = push.body as { msgId: string };
  return `main:${msgId}`;
}

async function activity(inReplyTo: string, state: "working" | "idle" = "working"): Promise<Response> {
  return bridge.api("PUT", "/v1/activity", { inReplyTo, state });
}

async function reply(inReplyTo?: string): Promise<Record<string, unknown>> {
  const body = { to: "user:staff001", content: { type: "text", text: "answer" }, ...(inReplyTo && { inReplyTo }) };
  const response = await bridge.api("POST", "/v1/messages", body, { prefer: "wait=15" });
  return (await response.json()) as Record<string, unknown>;
}

const attaches = (): number => bridge.dingtalk.calls({ api: "emotion/reply" }).length;
const recalls = (): number => bridge.dingtalk.calls({ api: "emotion/recall" }).length;
const shown = (): SimulatedReaction[] => bridge.dingtalk.reactions.filter(({ recalled }) => !recalled);

/** A reaction is attached under a new message; the envelope's id. */
async function attached(): Promise<string> {
  const id = await said();
  expect((await activity(id)).status).toBe(204);
  expect(alarms.ring(AFTER)).toBe(1);
  await expect.poll(shown).toHaveLength(1);
  return id;
}

const gone = () => expect.poll(() => [shown().length, recalls()]).toEqual([0, 1]);

describe("auto", () => {
  it("attaches under the person's message when nothing is to be seen after a while, and recalls when idle", async () => {
    await start();
    const id = await said();
    expect((await activity(id)).status).toBe(204);
    expect(alarms.set).toEqual([AFTER]);
    expect(attaches()).toBe(0);
    alarms.ring(AFTER);
    await expect.poll(shown).toMatchObject([{ name: "🤔思考中", msgId: id.slice("main:".length) }]);
    expect((await activity(id, "idle")).status).toBe(204);
    await gone();
    expect(attaches()).toBe(1);
    expect(alarms.set).toEqual([]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("attaches nothing when the reply was there before, whatever is said later", async () => {
    await start();
    const id = await said();
    await activity(id);
    expect(await reply(id)).toMatchObject({ status: "delivered" });
    expect(alarms.set).toEqual([]);
    await activity(id);
    expect(alarms.set).toEqual([]);
    expect(attaches()).toBe(0);
  });

  it("attaches nothing when the work was done before", async () => {
    await start();
    const id = await said();
    await activity(id);
    await activity(id, "idle");
    expect(alarms.set).toEqual([]);
  });

  it("attaches one, however often work is reported", async () => {
    await start();
    const id = await attached();
    await activity(id);
    await activity(id);
    expect(alarms.set).toEqual([LIFE]);
    await activity(id, "idle");
    await activity(id, "idle");
    await gone();
    expect(attaches()).toBe(1);
  });

  it("attaches again for work that begins again", async () => {
    await start();
    const id = await attached();
    await activity(id, "idle");
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(() => [attaches(), recalls(), shown().length]).toEqual([2, 1, 1]);
  });

  it("counts what DingTalk counts", async () => {
    await start();
    const id = await attached();
    await activity(id, "idle");
    await gone();
    const status = (await (await bridge.api("GET", "/v1/status")).json()) as {
      quota: { organisations: { calls: { byClass: object } }[] };
    };
    expect(status.quota.organisations[0]?.calls.byClass).toEqual({ indicator: 2 });
    expect(bridge.dingtalk.usage().calls).toBe(2);
  });

  it("is off once calls run out", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "apiCountLimit", count: 1 });
    await bridge.api("POST", "/v1/messages", { to: "user:staff002", content: { type: "text", text: "x" } });
    await bridge.dingtalk.until("request", ({ api }) => api === "oToMessages/batchSend");
    const ladder = async () =>
      ((await (await bridge.api("GET", "/v1/status")).json()) as { quota: { organisations: { ladder: number }[] } })
        .quota.organisations[0]?.ladder;
    await expect.poll(ladder).toBe(3);
    await activity(id);
    alarms.ring(AFTER);
    expect(alarms.set).toEqual([]);
    // Asked anew at the next sign of work.
    await activity(id);
    expect(alarms.set).toEqual([AFTER]);
    expect(attaches()).toBe(0);
  });
});

describe("a reaction is recalled", () => {
  it("when a reply to its message is delivered, and only then", async () => {
    await start();
    const id = await attached();
    expect(await reply()).toMatchObject({ status: "delivered" });
    expect(await reply(await said("another"))).toMatchObject({ status: "delivered" });
    expect(shown()).toHaveLength(1);
    expect(await reply(id)).toMatchObject({ status: "delivered" });
    await gone();
  });

  it("when the reply's card is there, and none is attached after that", async () => {
    await start();
    const id = await attached();
    const opened = await bridge.api("POST", "/v1/streams", { to: "user:staff001", inReplyTo: id });
    const { id: stream } = (await opened.json()) as { id: string };
    await bridge.api("PUT", `/v1/streams/${stream}`, { seq: 0, text: "" });
    expect(shown()).toHaveLength(1);
    await bridge.api("PUT", `/v1/streams/${stream}`, { seq: 1, text: "the answer" });
    await expect.poll(() => bridge.dingtalk.cards.length).toBe(1);
    await gone();
    await activity(id);
    expect(alarms.set).toEqual([]);
    await bridge.restart();
    await activity(id);
    expect(alarms.set).toEqual([]);
    expect(attaches()).toBe(1);
  });

  it("when nothing is heard for ten minutes", async () => {
    await start();
    const id = await attached();
    expect(alarms.ring(LIFE)).toBe(1);
    await gone();
    await activity(id);
    expect(alarms.set).toEqual([AFTER]);
  });

  it("when the daemon stops", async () => {
    await start();
    await attached();
    await bridge.restart();
    expect(shown()).toEqual([]);
    expect(recalls()).toBe(1);
    expect(alarms.set).toEqual([]);
  });

  it("at the next start, where it could not be before", async () => {
    await start();
    await attached();
    bridge.dingtalk.faults.api("emotion/recall", { kind: "error", error: "permissionDenied", count: 1 });
    await bridge.restart();
    await expect.poll(() => [shown().length, recalls()]).toEqual([0, 2]);
    await bridge.restart();
    expect(recalls()).toBe(2);
  });

  it("later, where DingTalk does not do it at once", async () => {
    await start();
    const id = await attached();
    bridge.dingtalk.faults.api("emotion/recall", { kind: "error", error: "permissionDenied", count: 1 });
    await activity(id, "idle");
    await expect.poll(() => alarms.set).toEqual([MINUTE]);
    expect(shown()).toHaveLength(1);
    alarms.ring(MINUTE);
    await expect.poll(() => [shown().length, recalls()]).toEqual([0, 2]);
    await bridge.restart();
    expect(recalls()).toBe(2);
  });

  it("but not while work goes on again", async () => {
    await start();
    const id = await attached();
    bridge.dingtalk.faults.api("emotion/recall", { kind: "error", error: "permissionDenied", count: 1 });
    await activity(id, "idle");
    await expect.poll(() => alarms.set).toEqual([MINUTE]);
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(attaches).toBe(2);
    expect(alarms.set).toEqual([LIFE]);
    await activity(id, "idle");
    await expect.poll(() => [shown().length, recalls()]).toEqual([0, 2]);
  });

  it("also when nobody knows whether it was attached", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "reset", executed: true, count: 3 });
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(attaches, { timeout: 5_000 }).toBe(3);
    await activity(id, "idle");
    await expect.poll(() => [bridge.dingtalk.reactions.length, shown().length]).toEqual([1, 0]);
  });

  it("also when the last try was refused, and an earlier one was not answered", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "reset", executed: true, count: 1 });
    bridge.dingtalk.faults.api("emotion/reply", { kind: "error", error: "permissionDenied" });
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(attaches).toBe(2);
    await activity(id, "idle");
    await expect.poll(() => [bridge.dingtalk.reactions.length, shown().length]).toEqual([1, 0]);
  });

  it("and not while its attach is under way: nobody knows which DingTalk would take first", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "hang", executed: true });
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(shown).toHaveLength(1);
    await reply(id);
    await reply();
    expect(recalls()).toBe(0);
    // Ends what hangs: the daemon would wait for it.
    await bridge.dingtalk.close();
  });

  it("and not tried any further, when the reply is there before it took", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "error", error: "systemError" });
    await activity(id);
    alarms.ring(AFTER);
    await expect.poll(attaches).toBe(1);
    await activity(id, "idle");
    await expect.poll(recalls).toBe(1);
    expect(attaches()).toBe(1);
  });

  it("after it was attached, when the reply overtakes it", async () => {
    await start();
    const id = await said();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "slow", delayMs: 300, count: 1 });
    await activity(id);
    alarms.ring(AFTER);
    expect(await reply(id)).toMatchObject({ status: "delivered" });
    await expect.poll(() => [bridge.dingtalk.reactions.length, shown().length, recalls()]).toEqual([1, 0, 1]);
  });
});

describe("DingTalk's reactions failing", () => {
  it.each([
    ["without an answer", { kind: "hang" }],
    ["with a 500", { kind: "error", error: "systemError" }],
    ["with a 403", { kind: "error", error: "permissionDenied" }],
    ["with a throttle", { kind: "error", error: "qpsLimit" }],
  ] as const)("%s neither delay nor fail a reply", async (_name, fault) => {
    await start();
    bridge.dingtalk.faults.api("emotion/reply", fault);
    bridge.dingtalk.faults.api("emotion/recall", fault);
    const id = await said();
    const asked = bridge.dingtalk.waitFor("request", ({ api }) => api === "emotion/reply");
    await activity(id);
    alarms.ring(AFTER);
    if (fault.kind === "error") await asked;
    expect(await reply(id)).toMatchObject({ status: "delivered", attempts: 0 });
    if (fault.kind === "hang") {
      await expect.poll(attaches).toBe(1);
      asked.catch(() => undefined);
      // Ends what hangs: the daemon would wait for it.
      await bridge.dingtalk.close();
    }
  });

  it("for want of a permission are left alone for a while", async () => {
    await start();
    bridge.dingtalk.faults.api("emotion/reply", { kind: "error", error: "permissionDenied" });
    const first = await said();
    await activity(first);
    alarms.ring(AFTER);
    await expect.poll(() => bridge.logs.text).toContain("DingTalk refuses reactions");
    const second = await said("again");
    await activity(second);
    alarms.ring(AFTER);
    await activity(second, "idle");
    expect(attaches()).toBe(1);
    expect(recalls()).toBe(0);
    expect(alarms.set).toEqual([]);
  });
});

describe("settings", () => {
  it("always: at once", async () => {
    await start({ env: { BRIDGE_REPLY_INDICATOR: "always" } });
    const id = await said();
    await activity(id);
    expect(alarms.ring(0)).toBe(1);
    await expect.poll(shown).toHaveLength(1);
    await reply(id);
    await gone();
  });

  it("off: never, and still answered", async () => {
    await start({ env: { BRIDGE_REPLY_INDICATOR: "off" } });
    expect((await activity(await said())).status).toBe(204);
    expect(alarms.set).toEqual([]);
  });

  it("another time and another text", async () => {
    const env = { BRIDGE_REPLY_INDICATOR_AFTER: "1500", BRIDGE_REPLY_INDICATOR_TEXT: "👀" };
    await start({ env });
    await activity(await said());
    alarms.ring(1_500);
    await expect.poll(shown).toMatchObject([{ name: "👀" }]);
  });

  it("without a test's alarms rings by itself", async () => {
    await start({ env: { BRIDGE_REPLY_INDICATOR_AFTER: "0" }, overrides: { indicatorAlarm: undefined } as never });
    const id = await said();
    await activity(id);
    await expect.poll(shown).toHaveLength(1);
    await activity(id, "idle");
    await gone();
  });
});

describe("PUT /v1/activity", () => {
  it("knows an envelope of the caller's account only, and each account's own settings", async () => {
    const gateway = { mode: { kind: "silent" } } as const;
    bridge = await startTwo({ gateway, overrides: { indicatorAlarm: alarms.alarm } }, { reply: { indicator: "off" } });
    const id = await said("hi", { app: APP.appKey });
    const body = { inReplyTo: id, state: "working" };
    const refused = await bridge.api("PUT", "/v1/activity", body, SECOND_TOKEN);
    expect([refused.status, await refused.json()]).toEqual([404, expect.objectContaining({ code: "not_found" })]);
    expect((await bridge.api("PUT", "/v1/activity", body)).status).toBe(204);
    expect(alarms.set).toEqual([AFTER]);
    const theirs = (await said("hi", { app: SECOND.appKey })).replace("main:", "support:");
    expect((await bridge.api("PUT", "/v1/activity", { ...body, inReplyTo: theirs }, SECOND_TOKEN)).status).toBe(204);
    expect(alarms.set).toEqual([AFTER]);
  });

  it("refuses an unknown envelope", async () => {
    await start();
    const refused = await activity("main:msgNobodySaid==");
    expect([refused.status, await refused.json()]).toEqual([404, expect.objectContaining({ code: "not_found" })]);
  });
});
