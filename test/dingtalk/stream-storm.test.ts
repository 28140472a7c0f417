import { expect, it, onTestFinished, vi } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, makeSession } from "./stream-support.ts";

/** A small generator with a seed, so that a failure can be played again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

it.each([1, 2, 3])(
  "stores and acks every message through a storm of faults (seed %i)",
  async (seed) => {
    const random = seeded(seed);
    const sim = await startDingtalkSimulator({
      apps: [app],
      random,
      knobs: { offline: "queue", redeliverAfterMs: 100, redeliveries: 100, disconnectGraceMs: 80, qps: 0 },
    });
    onTestFinished(() => sim.close());
    const stored = new Set<string>();
    let mostLive = 0;
    sim.events.on("connected", () => (mostLive = Math.max(mostLive, sim.connections.length)));
    const one = makeSession(sim.url, {
      random,
      timings: { pingEveryMs: 120, drainMs: 60 },
      onPush: ({ frame }) => {
        if (random() < 0.2) return Promise.reject(new Error("store unavailable"));
        stored.add((JSON.parse(frame.data) as { msgId: string }).msgId);
        return Promise.resolve({});
      },
    });
    await one.session.start();
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));

    const faults = [
      () => void sim.faults.abort(undefined, "rst"),
      () => void sim.faults.abort(undefined, 1006),
      () => void sim.faults.disconnect(),
      () => void sim.faults.disconnect({ bare: true }),
      () => void sim.faults.halfOpen(),
      () => sim.faults.connect({ kind: "status", status: 401, count: 2 }),
      () => sim.faults.connect({ kind: "close", how: 1006, count: 1 }),
      () => sim.faults.open({ kind: "error", error: "unavailable", count: 2 }),
      () => void sim.pushFrame("{not json"),
    ];
    const handles = [];
    for (let n = 0; n < 60; n += 1) {
      if (n % 4 === 0) faults[Math.floor(random() * faults.length)]?.();
      handles.push(await sim.say({ text: `message ${n}` }));
      if (n % 8 === 7) await vi.waitFor(() => expect(stored.size).toBeGreaterThan(n / 2), { timeout: 10_000 });
    }
    for (const handle of handles) await handle.acked(10_000);

    expect(stored.size).toBe(60);
    expect(mostLive).toBeLessThanOrEqual(2);
    await vi.waitFor(() => expect(one.session.state).toBe("connected"), { timeout: 5_000 });
    await one.close();
    // One that went half-open never hears of its end: the simulator reads nothing from it any more.
    const heard = () => sim.connections.filter(({ mode }) => mode !== "half-open");
    await vi.waitFor(() => expect(heard()).toHaveLength(0), { timeout: 5_000 });
  },
  60_000,
);
