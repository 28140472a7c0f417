import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StreamSessionOptions } from "../../src/dingtalk/stream-session.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Made, app, makeSession } from "./stream-support.ts";

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

describe("stopping", () => {
  const signal = () => AbortSignal.timeout(5_000);

  it("finishes pushes in flight, acks them, and closes with 1000", async () => {
    const stored = Promise.withResolvers<object>();
    const one = await connected({ onPush: () => stored.promise });
    const handle = await sim.say({ text: "hi" });
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "callback" })).toBe(1));
    const stopping = one.session.stop({ signal: signal() });
    stored.resolve({});
    await stopping;
    await handle.acked();
    await vi.waitFor(() => expect(sim.allConnections[0]).toMatchObject({ closedBy: "client", closeCode: 1000 }));
    expect(one.session.state).toBe("stopped");
    expect(await one.count("acksFailed")).toBe(0);
    expect(await one.count("streamGaps")).toBe(0);
  });

  it("takes nothing new while stopping", async () => {
    const stored = Promise.withResolvers<object>();
    const pushes: unknown[] = [];
    const one = await connected({ onPush: (push) => (pushes.push(push), stored.promise) });
    await sim.say({ text: "1" });
    await vi.waitFor(() => expect(pushes).toHaveLength(1));
    const stopping = one.session.stop({ signal: signal() });
    await sim.say({ text: "2" });
    await vi.waitFor(async () => expect(await one.count("acksFailed", { reason: "stopping" })).toBeGreaterThan(0));
    stored.resolve({});
    await stopping;
    expect(pushes).toHaveLength(1);
  });

  it("does not wait beyond its signal for a push that hangs", async () => {
    const hang = Promise.withResolvers<object>();
    const one = await connected({ onPush: () => hang.promise });
    await sim.say({ text: "hi" });
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "callback" })).toBe(1));
    await one.session.stop({ signal: AbortSignal.timeout(100) });
    expect(one.session.state).toBe("stopped");
    await vi.waitFor(() => expect(live()).toBe(0));
    hang.resolve({});
    await vi.waitFor(async () => expect(await one.count("acksFailed", { reason: "closed" })).toBe(1));
  });

  it("works without start, twice, at once, and starts again", async () => {
    const one = make();
    await one.session.stop({ signal: signal() });
    await one.session.start();
    await one.session.start();
    await Promise.all([one.session.stop({ signal: signal() }), one.session.stop({ signal: signal() })]);
    expect(live()).toBe(0);
    await Promise.all([one.session.start(), one.session.stop({ signal: signal() }), one.session.start()]);
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    expect(live()).toBe(1);
    await (await sim.say({ text: "hi" })).acked();
  });

  it("gives up an open call and a handshake that hang", async () => {
    sim.faults.open({ kind: "hang", count: 1 });
    const one = make();
    await one.session.start();
    await one.session.stop({ signal: signal() });
    sim.faults.clear();
    sim.faults.connect({ kind: "hang" });
    await one.session.start();
    await sim.waitFor("request");
    await one.session.stop({ signal: signal() });
    expect(one.session.state).toBe("stopped");
    expect(live()).toBe(0);
  });

  it("stops in the middle of a replacement", async () => {
    sim.setKnobs({ disconnectGraceMs: 60_000 });
    const one = await connected({ timings: { drainMs: 60_000 } });
    sim.faults.disconnect();
    await sim.waitFor("connected");
    await one.session.stop({ signal: signal() });
    await vi.waitFor(() => expect(live()).toBe(0));
  });
});
