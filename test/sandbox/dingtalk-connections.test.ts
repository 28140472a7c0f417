import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SimulatorKnobs } from "../../src/sandbox/dingtalk-knobs.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, Client, connect, openTicket } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
const start = async (knobs: Partial<SimulatorKnobs> = {}): Promise<void> => {
  await sim?.close();
  sim = await startDingtalkSimulator({ apps: [app], knobs });
};
beforeEach(() => start());
afterEach(() => sim.close());

const topics = (client: Client): (string | undefined)[] => client.frames.map((frame) => frame.headers["topic"]);

describe("half-open", () => {
  it("reads nothing, answers nothing, keeps TCP open", async () => {
    await start({ pingEveryMs: 10 });
    const client = await connect(sim);
    expect(sim.faults.halfOpen()).toBe(1);
    const before = client.frames.length;
    const handle = await sim.say({ text: "x" });
    client.ws.ping();
    // Pings go unanswered and the next one is due: the server has had its turns.
    await expect.poll(() => sim.connections[0]?.unansweredPings).toBeGreaterThan(2);
    expect(handle).toMatchObject({ delivered: false, reason: "lost", connectionId: sim.connections[0]?.id });
    expect(client.pongs).toBe(0);
    expect(client.frames.length - before).toBeLessThanOrEqual(1);
    expect(client.closed).toBeUndefined();
    expect(sim.connections).toMatchObject([{ live: true, mode: "half-open", wsPings: 0 }]);
  });

  it("gets pushes in vain only until there is a healthy connection; the lost come again there", async () => {
    await start({ redeliverAfterMs: 60 });
    await connect(sim);
    sim.faults.halfOpen(sim.connections[0]?.id);
    await sim.say({ text: "lost" });
    const next = (await connect(sim)).autoAck();
    for (let i = 0; i < 20; i++) expect(await sim.say({ text: String(i) })).toMatchObject({ delivered: true });
    await expect.poll(() => next.messages).toHaveLength(21);
    expect(next.body(20)).toMatchObject({ text: { content: "lost" } });
  });

  it("can be closed all the same", async () => {
    const client = await connect(sim);
    sim.faults.halfOpen();
    sim.faults.abort(undefined, "rst");
    await expect.poll(() => client.closed).toEqual({ code: 1006 });
    expect(sim.connections).toEqual([]);
  });
});

it("a zombie pongs and sends nothing", async () => {
  await start({ pingEveryMs: 5 });
  const client = await connect(sim);
  sim.faults.zombie();
  const before = client.frames.length;
  client.ws.ping();
  await expect.poll(() => client.pongs).toBe(1);
  expect(await sim.say({ text: "x" })).toMatchObject({ delivered: false, reason: "lost" });
  await expect.poll(() => sim.connections[0]?.unansweredPings).toBeGreaterThan(2);
  expect(client.frames.length - before).toBeLessThanOrEqual(1);
});

describe("disconnect", () => {
  it("announces, delivers nothing more, closes after the grace", async () => {
    await start({ disconnectGraceMs: 80, pingEveryMs: 5, keepAliveEveryMs: 5 });
    const client = (await connect(sim)).autoAck();
    expect(sim.faults.disconnect({ reason: "connection is expired" })).toBe(1);
    expect(await sim.say({ text: "x" })).toMatchObject({ delivered: false, reason: "no_connection" });
    await expect.poll(() => client.closed).toEqual({ code: 1006 });
    const notice = client.frames.at(-1);
    expect(notice).toMatchObject({ specVersion: "1.0", type: "SYSTEM", headers: { topic: "disconnect" } });
    expect(notice?.headers["messageId"]).toMatch(/^[0-9a-f]{8}\d{13}[0-9a-f]+$/);
    expect(JSON.parse(notice?.data ?? "")).toEqual({ reason: "connection is expired" });
    expect(topics(client).filter((topic) => topic === "disconnect")).toHaveLength(1);
    expect(sim.allConnections).toMatchObject([{ live: false, draining: true, closedBy: "server", closeCode: 1006 }]);
    expect(sim.problems).toEqual([]);
  });

  it("has a bare variant and other ends", async () => {
    const client = await connect(sim);
    sim.faults.disconnect({ bare: true, graceMs: 5, how: 1001 });
    await expect.poll(() => client.closed).toEqual({ code: 1001 });
    expect(client.frames[0]).not.toHaveProperty("specVersion");
    expect(client.frames[0]?.headers).not.toHaveProperty("messageId");
  });

  it("sends what comes meanwhile to the replacement, or keeps it for that", async () => {
    await start({ offline: "queue" });
    const old = await connect(sim);
    await sim.pushSystem("disconnect");
    expect(await sim.say({ text: "meanwhile" })).toMatchObject({ reason: "queued" });
    const next = await connect(sim);
    await sim.say({ text: "after" });
    await expect.poll(() => next.messages).toHaveLength(2);
    expect([next.body(0), next.body(1)]).toMatchObject([
      { text: { content: "meanwhile" } },
      { text: { content: "after" } },
    ]);
    expect(old.messages).toEqual([]);
    old.ws.close(1000);
    await expect.poll(() => sim.allConnections[0]).toMatchObject({ live: false, closedBy: "client", closeCode: 1000 });
  });

  it("still takes acks of what was sent before", async () => {
    const client = await connect(sim);
    const handle = await sim.say({ text: "x" });
    sim.faults.disconnect();
    await expect.poll(() => client.frames).toHaveLength(2);
    client.ack(client.frames[0]!);
    await handle.acked();
  });
});

describe("abrupt ends", () => {
  it.each([
    ["rst", 1006],
    [1006, 1006],
    [1000, 1000],
    [1001, 1001],
    [1011, 1011],
  ] as const)("%s is seen as %i", async (how, code) => {
    const client = await connect(sim);
    const closed = sim.waitFor("closed");
    expect(sim.faults.abort(sim.connections[0]?.id, how)).toBe(1);
    await expect.poll(() => client.closed).toEqual({ code });
    expect(await closed).toMatchObject({ live: false, closedBy: "server", closeCode: code });
  });

  it.each(["disconnect", 1001, "rst"] as const)("every connection is rotated after its time: %s", async (rotation) => {
    await start({ rotateEveryMs: 20, rotation, disconnectGraceMs: 5 });
    const client = await connect(sim);
    await expect.poll(() => client.closed).toEqual({ code: rotation === 1001 ? 1001 : 1006 });
    expect(topics(client)).toEqual(rotation === "disconnect" ? ["disconnect"] : []);
  });

  it("may come right after the upgrade", async () => {
    sim.faults.connect({ kind: "close", how: 1011, count: 1 });
    const client = await connect(sim);
    await expect.poll(() => client.closed).toEqual({ code: 1011 });
    expect((await connect(sim)).closed).toBeUndefined();
  });
});

describe("the upgrade", () => {
  it("may be refused, reset or slow; the ticket is gone", async () => {
    sim.faults.connect({ kind: "status", status: 503, count: 1 });
    sim.faults.connect({ kind: "reset", count: 1 });
    const url = await openTicket(sim);
    await expect(new Client(url).ready()).rejects.toThrow("refused 503");
    await expect(new Client(await openTicket(sim)).ready()).rejects.toThrow(/hang up|ECONNRESET/);
    await expect(new Client(url).ready()).rejects.toThrow("refused 401");
    sim.faults.connect({ kind: "slow", delayMs: 20, count: 1 });
    await connect(sim);
  });

  it("may hang", async () => {
    sim.faults.connect({ kind: "hang" });
    const client = new Client(await openTicket(sim));
    const other = (await call200(sim)) && client.ws.readyState;
    expect(other).toBe(client.ws.CONNECTING);
    const closed = new Promise((resolve) => client.ws.once("close", resolve));
    await sim.close();
    await closed;
  });

  it("exists at /connect only", async () => {
    const url = (await openTicket(sim)).replace("/connect", "/other");
    await expect(new Client(url).ready()).rejects.toThrow("refused 404");
    expect(sim.problems).toHaveLength(1);
  });
});

/** A full round through the server, after which it has seen everything sent before. */
const call200 = async (of: DingtalkSimulator): Promise<boolean> => (await fetch(`${of.url}/sim/usage`)).ok;

describe("a stale view of the server", () => {
  it("sends a share into a closed connection for a while", async () => {
    await start({ redeliveries: 0 });
    await connect(sim);
    sim.faults.abort();
    await sim.waitFor("closed");
    const next = await connect(sim);
    sim.faults.stale({ forMs: 60_000, share: 0.5 });
    const handles = [];
    for (let i = 0; i < 100; i++) handles.push(await sim.say({ text: String(i) }));
    const delivered = handles.filter((handle) => handle.delivered).length;
    expect(delivered).toBeGreaterThan(20);
    expect(delivered).toBeLessThan(80);
    await expect.poll(() => next.messages).toHaveLength(delivered);
    sim.faults.clear();
    expect(await sim.say({ text: "x" })).toMatchObject({ delivered: true });
  });

  it("loses the first message after a reconnect", async () => {
    await start({ redeliverAfterMs: 5 });
    const old = (await connect(sim)).autoAck();
    sim.faults.loseFirst();
    expect(await sim.say({ text: "before" })).toMatchObject({ delivered: true });
    old.ws.terminate();
    await sim.until("closed");
    await connect(sim);
    expect(await sim.say({ text: "first" })).toMatchObject({ delivered: false, reason: "lost" });
    expect(await sim.say({ text: "second" })).toMatchObject({ delivered: true });
    await sim.waitFor("redelivered");
    expect(sim.pushes.filter((push) => push.intoVoid)).toHaveLength(1);
  });
});
