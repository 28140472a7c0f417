import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { Gate } from "../../src/queue/gate.ts";
import type { Admission } from "../../src/queue/lane-runner.ts";
import { conversationLane, userLane } from "../../src/queue/store.ts";
import { conversation, entry, holdTimers, openStore, turn, until } from "./helpers.ts";
import { away, delivered, eager, never, run, silent } from "./runner.ts";

const COOLDOWN = 10_000;
const lane = (id: string): string => conversationLane("main", id);

async function quiet(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

/** A runner whose only peer is away until told. */
async function start(lanes: string[], options: { queue?: "inbox" | "outbox" } = {}) {
  holdTimers();
  const store = openStore();
  const { queue = "inbox" } = options;
  for (const [n, one] of lanes.entries())
    await store.append(entry(`${n}`, { lane: one, queue, createdAt: Date.now() }));
  const gate = new Gate({
    name: "peer",
    failures: 1,
    cooldown: { baseMs: COOLDOWN, capMs: COOLDOWN },
    random: () => 1,
    logger: silent,
    onChange: (open) => {
      if (open) ran.runner.retryNow();
    },
  });
  const peer: { outcome: Outcome } = { outcome: away };
  const tried: string[] = [];
  const ran = run(store, {
    queue,
    retry: { ...eager, peerAway: { baseMs: 1, capMs: 1 } },
    random: () => 1,
    gate: () => gate,
    work: ({ id, lane: one }) =>
      gate.observe(() => {
        tried.push(id.slice("main:".length));
        return Promise.resolve(peer.outcome);
      }, one),
  });
  onTestFinished(() => gate.close());
  await gate.observe(() => Promise.resolve(away));
  await ran.runner.start();
  await quiet();
  expect(tried).toEqual([]);
  const pass = async (ms: number): Promise<void> => {
    await vi.advanceTimersByTimeAsync(ms);
    await quiet();
  };
  return { ...ran, store, gate, peer, tried, pass };
}

describe("lanes that wait at a gate", () => {
  it("are not called any more after a stop, and in order after the next start", async () => {
    const { runner, tried, pass, peer, store, gate } = await start(Array.from({ length: 20 }, (_, n) => lane(`${n}`)));
    await runner.stop({ signal: never });
    expect(gate.waiting).toBe(0);
    await runner.start();
    await runner.stop({ signal: never });
    await runner.start();
    await quiet();
    expect(gate.waiting).toBe(20);
    for (const probes of [1, 2, 3]) {
      await pass(COOLDOWN);
      expect(tried).toEqual(Array.from({ length: probes }, (_, n) => `${n}`));
    }
    peer.outcome = delivered;
    await pass(COOLDOWN);
    await until(() => expect(store.counts("inbox").open).toBe(0));
    expect(tried).toHaveLength(23);
  });

  it("leave the row when their last message is cancelled: no probe is lost on them", async () => {
    const { runner, store, tried, pass } = await start([lane("a"), lane("b"), lane("c")]);
    for (const n of ["0", "1"]) await store.cancel("inbox", `main:${n}`, 1);
    runner.changed(lane("a"));
    runner.changed(lane("b"));
    await pass(COOLDOWN);
    expect(tried).toEqual(["2"]);
    expect(runner.lanes).toBe(1);
  });

  it("keep one place each, however often they change", async () => {
    const { runner, store, tried, pass } = await start([lane("a"), lane("a"), lane("a"), lane("b")]);
    for (const n of ["0", "1"]) {
      await store.cancel("inbox", `main:${n}`, 1);
      runner.changed(lane("a"));
      await quiet();
    }
    await pass(COOLDOWN);
    await pass(COOLDOWN);
    await pass(COOLDOWN);
    // Whoever changed comes last.
    expect(tried).toEqual(["3", "2", "3"]);
  });

  it("merge, and go on in order", async () => {
    const [user, direct] = [userLane("main", "staff001"), lane("cidA")];
    const { runner, store, tried, peer, pass } = await start([user, direct, user], { queue: "outbox" });
    const { merged } = await store.append(entry("in"), conversation({ staffId: "staff001" }));
    expect(merged).toEqual({ from: user, to: direct });
    runner.merge(user, direct);
    await pass(COOLDOWN);
    expect([tried, runner.lanes]).toEqual([["0"], 1]);
    peer.outcome = delivered;
    await pass(COOLDOWN);
    expect(tried).toEqual(["0", "0", "1", "2"]);
  });
});

describe("the door of a lane", () => {
  it("may change while it waits: it leaves the one before it comes to another", async () => {
    const store = openStore();
    await store.append(entry("a"));
    const log: string[] = [];
    let wake: (() => void) | undefined;
    const door = (name: string, isOpen: boolean): Admission => ({
      enter: (call) => {
        log.push(`enter ${name}`);
        wake = call;
        return isOpen;
      },
      leave: () => void log.push(`leave ${name}`),
    });
    const doors = [door("first", false), door("second", true)];
    const { runner } = run(store, { gate: () => doors.shift(), work: () => Promise.resolve(delivered) });
    await runner.start();
    await until(() => expect(log).toEqual(["enter first"]));
    wake?.();
    await until(() => expect(log).toEqual(["enter first", "leave first", "enter second", "leave second"]));
    expect(store.counts("inbox").open).toBe(0);
  });

  it("cannot be found while the store fails: the lane waits, and goes on", async () => {
    holdTimers();
    const store = openStore();
    await store.append(entry("a", { createdAt: Date.now() }));
    let fails = true;
    const { runner } = run(store, {
      gate: () => {
        if (fails) throw new Error("disk I/O error");
        return undefined;
      },
      work: () => Promise.resolve(delivered),
    });
    await runner.start();
    await until(() => expect(runner.health()).toMatchObject({ status: "down", detail: "disk I/O error" }));
    fails = false;
    await vi.advanceTimersByTimeAsync(1_000);
    await until(() => expect(store.counts("inbox").open).toBe(0));
  });
});
