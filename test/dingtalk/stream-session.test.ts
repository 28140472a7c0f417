import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StreamSessionOptions } from "../../src/dingtalk/stream-session.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Made, app, cardTopic, makeSession } from "./stream-support.ts";

let sim: DingtalkSimulator;
const made: Made[] = [];

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app], knobs: { redeliverAfterMs: 100, disconnectGraceMs: 300 } });
});

afterEach(async () => {
  for (const one of made.splice(0)) await one.close();
  await sim.close();
});

function make(more: Partial<StreamSessionOptions> = {}): Made {
  const one = makeSession(sim.url, more);
  made.push(one);
  return one;
}

async function connected(more: Partial<StreamSessionOptions> = {}): Promise<Made> {
  const one = make(more);
  await one.session.start();
  await vi.waitFor(() => expect(one.session.state).toBe("connected"));
  return one;
}

const live = () => sim.connections.length;

describe("connecting", () => {
  it("connects, says so, and subscribes to what it was given", async () => {
    const one = make();
    expect(one.session.name).toBe("stream:main");
    expect(one.session.hasConnectedOrFailedOnce()).toBe(false);
    await one.session.start();
    expect(one.session.health().status).toBe("starting");
    await vi.waitFor(() => expect(one.session.health()).toEqual({ status: "ok" }));
    expect(one.session.hasConnectedOrFailedOnce()).toBe(true);
    expect(one.session.downSince()).toBeUndefined();
    expect(sim.connections).toHaveLength(1);
    expect(sim.connections[0]).toMatchObject({ app: app.appKey, ua: "dingtalk-bridge-node/1.2.3" });
    expect(sim.connections[0]?.subscriptions).toHaveLength(3);
    expect(one.lines("stream connected")).toMatchObject([{ account: "main", connection: 1 }]);
    expect(await one.count("streamGaps")).toBe(0);
    expect((await one.metrics.streamConnected.get()).values).toMatchObject([{ value: 1, labels: { account: "main" } }]);
  });

  it("needs neither REGISTERED nor CONNECTED nor KEEPALIVE, and takes them", async () => {
    sim.setKnobs({ sendConnected: true, sendRegistered: true, keepAliveEveryMs: 20 });
    const one = await connected();
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "system" })).toBeGreaterThan(3));
    expect(one.session.health().status).toBe("ok");
    expect(sim.problems).toEqual([]);
  });

  it("waits longer and longer while the open call fails, and counts the gap once", async () => {
    sim.faults.open({ kind: "error", error: "unavailable", count: 4 });
    const one = make({ random: () => 0.99 });
    await one.session.start();
    await vi.waitFor(() => expect(one.session.health()).toMatchObject({ status: "down", code: "stream_unavailable" }));
    expect(one.session.downSince()).toBeLessThanOrEqual(Date.now());
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    const waits = one.lines("stream not connected").map((line) => line["retryInMs"]);
    expect(waits).toEqual([10, 20, 40, 40]);
    expect(one.lines(GAP)).toHaveLength(1);
    const { begin, end } = one.lines(GAP)[0] as unknown as { begin: string; end: string };
    expect(Date.parse(end)).toBeGreaterThan(Date.parse(begin));
    expect(await one.count("streamGaps")).toBe(1);
    expect(await one.count("streamGapSeconds")).toBeGreaterThan(0);
    expect(one.session.health().status).toBe("ok");
  });

  it("retries bad credentials slowly, loudly, and names the mend", async () => {
    const one = make({ account: { name: "main", appKey: app.appKey, appSecret: "wrong" } });
    await one.session.start();
    await vi.waitFor(() => expect(one.lines("stream not connected").length).toBeGreaterThan(1));
    expect(one.session.health()).toMatchObject({ status: "down", code: "stream_bad_credentials" });
    expect(one.session.health().mend).toContain("Client Secret");
    expect(one.lines("stream not connected")[0]).toMatchObject({ level: 50, retryInMs: 50 });
    expect(live()).toBe(0);
  });

  it("one account's bad credentials leave the other alone", async () => {
    const bad = make({ account: { name: "other", appKey: app.appKey, appSecret: "wrong" } });
    const good = make();
    await Promise.all([bad.session.start(), good.session.start()]);
    await vi.waitFor(() => expect(bad.session.health().status).toBe("down"));
    await vi.waitFor(() => expect(good.session.health().status).toBe("ok"));
    const handle = await sim.say({ text: "hi" });
    await handle.acked();
  });
});

const GAP = "stream gap: messages sent to the robot meanwhile are not delivered later";

describe("pushes", () => {
  it("acks after the message is stored, not before", async () => {
    const stored = Promise.withResolvers<object>();
    const one = await connected({ onPush: () => stored.promise });
    const handle = await sim.say({ text: "你好" });
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "callback" })).toBe(1));
    expect(sim.acks).toEqual([]);
    stored.resolve({});
    expect(await handle.acked()).toMatchObject({ code: 200, data: { response: null } });
    expect(sim.problems).toEqual([]);
  });

  it("hands out the frame with its time of arrival, and learns the clock's offset", async () => {
    sim.setKnobs({ clockSkewMs: 3_600_000 });
    const pushes: unknown[] = [];
    const one = await connected({ onPush: (push) => Promise.resolve(pushes.push(push)).then(() => ({})) });
    expect(one.session.clockOffset()).toBe(0);
    const handle = await sim.say({ text: "你好" });
    await handle.acked();
    expect(pushes).toMatchObject([
      { receivedAt: expect.any(Number) as number, frame: { type: "CALLBACK", messageId: handle.messageIds[0] } },
    ]);
    expect(one.session.clockOffset()).toBeGreaterThan(3_500_000);
    expect(one.session.lastFrameAt).toBeLessThanOrEqual(Date.now());
  });

  it("writes the ack it is given, and the usual one for events", async () => {
    await connected({
      onPush: ({ frame }) => Promise.resolve(frame.topic === cardTopic ? { data: { response: { x: 1 } } } : {}),
    });
    const card = await sim.push({ type: "CALLBACK", topic: cardTopic, data: {} });
    expect(await card.acked()).toMatchObject({ data: { response: { x: 1 } } });
    const event = await sim.push({ type: "EVENT", topic: "*", data: {}, headers: { eventType: "robot_msg_read" } });
    expect(await event.acked()).toMatchObject({ data: { status: "SUCCESS" } });
    expect(sim.problems).toEqual([]);
  });

  it("leaves what could not be stored without an ack: it comes again", async () => {
    let tries = 0;
    const one = await connected({
      onPush: () => {
        tries += 1;
        if (tries === 1) throw new Error("disk full");
        return Promise.resolve({});
      },
    });
    const handle = await sim.say({ text: "hi" });
    await handle.acked();
    expect(tries).toBe(2);
    expect(handle.messageIds).toHaveLength(2);
    expect(await one.count("acksFailed", { reason: "not_stored" })).toBe(1);
    expect(one.lines("push not stored, not acked")).toMatchObject([{ error: "disk full" }]);
  });

  it("takes pushes in their order without waiting for the one before, up to a bound", async () => {
    const gate = Promise.withResolvers<object>();
    const order: string[] = [];
    const one = await connected({
      timings: { maxInFlight: 3 },
      onPush: ({ frame }) => {
        order.push(frame.messageId);
        return gate.promise;
      },
    });
    sim.setKnobs({ redeliveries: 0 });
    const handles = [await sim.say({ text: "1" }), await sim.say({ text: "2" }), await sim.say({ text: "3" })];
    await sim.say({ text: "4" });
    await vi.waitFor(async () => expect(await one.count("acksFailed", { reason: "overload" })).toBe(1));
    expect(order).toEqual(handles.map((handle) => handle.messageIds[0]));
    gate.resolve({});
    for (const handle of handles) await handle.acked();
    expect(one.lines("push left for DingTalk to repeat")).toHaveLength(1);
  });

  it("answers SYSTEM pings with their own data", async () => {
    sim.setKnobs({ pingEveryMs: 20, dropAfterMissedPings: 1 });
    const one = await connected();
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "system" })).toBeGreaterThan(5));
    expect(sim.problems).toEqual([]);
    expect(sim.allConnections).toHaveLength(1);
  });
});

describe("replacement", () => {
  it.each([{ bare: false }, { bare: true }])(
    "opens the next connection on a disconnect frame first ($bare)",
    async ({ bare }) => {
      const one = await connected();
      const first = sim.connections[0]?.id;
      sim.faults.disconnect({ bare });
      await sim.waitFor("connected");
      expect(sim.allConnections).toHaveLength(2);
      expect(sim.allConnections[0]?.live).toBe(true);
      await vi.waitFor(() => expect(sim.connections.map(({ id }) => id)).not.toContain(first));
      expect(live()).toBe(1);
      expect(await one.count("streamGaps")).toBe(0);
      expect(await one.count("streamCloses", { reason: "disconnect" })).toBe(1);
      expect(one.session.health()).toEqual({ status: "ok" });
      expect(sim.problems).toEqual([]);
    },
  );

  it("closes the old connection itself when the server does not", async () => {
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    await connected();
    sim.faults.disconnect();
    await vi.waitFor(() => expect(sim.allConnections).toHaveLength(2));
    await vi.waitFor(() => expect(live()).toBe(1));
    expect(sim.allConnections[0]).toMatchObject({ live: false, closedBy: "client", closeCode: 1000 });
  });

  it("acks on the old connection what still comes on it", async () => {
    const one = await connected({ timings: { drainMs: 2_000 } });
    const old = sim.connections[0]?.id ?? "";
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    sim.faults.disconnect();
    await sim.waitFor("connected");
    await sim.pushFrame(
      {
        type: "CALLBACK",
        headers: { topic: cardTopic, messageId: "late1", contentType: "application/json" },
        data: "{}",
      },
      { connectionId: old },
    );
    await vi.waitFor(() => expect(sim.acks.map(({ connectionId }) => connectionId)).toEqual([old]));
    expect(await one.count("acksFailed")).toBe(0);
  });

  it("replaces a connection past its age the same way", async () => {
    const one = await connected({ timings: { maxAgeMs: 100, pingEveryMs: 30, pongWaitMs: 5_000 } });
    await sim.waitFor("connected");
    await vi.waitFor(async () => expect(await one.count("streamCloses", { reason: "max_age" })).toBeGreaterThan(0));
    expect(await one.count("streamGaps")).toBe(0);
  });

  it("replaces a connection that has gone silent against the server's habit, though it still pongs", async () => {
    sim.setKnobs({ keepAliveEveryMs: 20 });
    const one = await connected({
      timings: { silenceAtLeastMs: 300, pingEveryMs: 30, pongWaitMs: 5_000 },
    });
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "system" })).toBeGreaterThan(3));
    sim.faults.zombie();
    await sim.waitFor("connected");
    await vi.waitFor(async () => expect(await one.count("streamCloses", { reason: "silent" })).toBe(1));
    expect(await one.count("streamGaps")).toBe(0);
  });

  it("never holds more than two connections, however often the server asks", async () => {
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    await connected({ timings: { drainMs: 5_000 } });
    let most = 0;
    sim.events.on("connected", () => (most = Math.max(most, live())));
    for (let round = 2; round <= 6; round += 1) {
      sim.faults.disconnect();
      await vi.waitFor(() => expect(sim.allConnections).toHaveLength(round));
      await vi.waitFor(() => expect(sim.connections.some(({ draining }) => !draining)).toBe(true));
    }
    expect(most).toBe(2);
  });

  it("keeps the old connection while the replacement fails, and is degraded", async () => {
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    const one = await connected();
    sim.faults.open({ kind: "error", error: "unavailable" });
    sim.faults.disconnect();
    await vi.waitFor(() =>
      expect(one.session.health()).toMatchObject({ status: "degraded", code: "stream_unavailable" }),
    );
    expect(live()).toBe(1);
    expect(one.session.downSince()).toBeUndefined();
    sim.faults.clear();
    await vi.waitFor(() => expect(one.session.health()).toEqual({ status: "ok" }));
    expect(await one.count("streamGaps")).toBe(0);
  });

  it("waits its backoff when a fresh connection is asked to go", async () => {
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    const one = await connected({
      timings: { replaceAtOnceAfterMs: 60_000, backoffBaseMs: 30_000, backoffCapMs: 30_000 },
    });
    sim.faults.disconnect();
    await vi.waitFor(() => expect(one.session.state).toBe("waiting"));
    expect(sim.allConnections).toHaveLength(1);
  });
});

describe("losing a connection", () => {
  it.each(["rst", 1006, 1000, 1001, 1011] as const)("connects again after %s, with one gap", async (how) => {
    const one = await connected();
    sim.faults.abort(undefined, how);
    await sim.waitFor("connected");
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    expect(live()).toBe(1);
    expect(one.lines(GAP)).toHaveLength(1);
    expect(await one.count("streamGaps")).toBe(1);
    await (await sim.say({ text: "hi" })).acked();
  });

  it("counts failures from the start again after a healthy time", async () => {
    sim.faults.open({ kind: "error", error: "unavailable", count: 4 });
    const one = await connected({ random: () => 0.999, timings: { healthyAfterMs: 50, backoffCapMs: 10_000 } });
    const began = Date.now();
    await vi.waitFor(() => expect(Date.now() - began).toBeGreaterThan(60));
    sim.faults.open({ kind: "error", error: "unavailable", count: 1 });
    sim.faults.abort();
    await vi.waitFor(() => expect(one.lines("stream not connected")).toHaveLength(5));
    expect(one.lines("stream not connected").map((line) => line["retryInMs"])).toEqual([10, 20, 40, 80, 20]);
  });

  it("replaces a half-open connection", async () => {
    const one = await connected({ timings: { pingEveryMs: 100 } });
    sim.faults.halfOpen();
    await sim.waitFor("connected");
    expect(await one.count("streamCloses", { reason: "dead" })).toBe(1);
    await vi.waitFor(() => expect(one.session.health()).toEqual({ status: "ok" }));
  });

  it("hints at a second consumer or risk control after five short lives", async () => {
    sim.faults.connect({ kind: "close", how: 1006 });
    const one = make();
    await one.session.start();
    await vi.waitFor(() => expect(one.session.health().detail).toContain("times in a row"));
    expect(one.session.health().mend).toContain("Client ID");
    expect(one.lines("stream accepted and closed again and again")).toHaveLength(1);
    sim.faults.clear();
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    await vi.waitFor(() => expect(live()).toBe(1));
    await (await sim.say({ text: "hi" })).acked();
    expect(one.session.health()).toEqual({ status: "ok" });
  });
});
