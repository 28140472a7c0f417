import { describe, expect, it, vi } from "vitest";
import { type QueueStore, conversationLane, userLane } from "../../src/queue/store.ts";
import { conversation, entry, holdTimers, openStore, turn, until } from "./helpers.ts";
import { type Run, away, delivered, run } from "./runner.ts";

const USER = userLane("main", "staff001");
const DIRECT = conversationLane("main", "cidA");
const held = { kind: "held", afterMs: 100_000_000 } as const;

const append = (store: QueueStore, name: string, lane: string) =>
  store.append(entry(name, { queue: "outbox", lane, createdAt: Date.now() }));

/** The person writes: the store moves the lane, and the runner is told. */
async function seen(store: QueueStore, { runner }: Run, tellLate = false): Promise<void> {
  const { merged } = await store.append(entry("in"), conversation({ staffId: "staff001" }));
  if (tellLate) for (let i = 0; i < 10; i += 1) await turn();
  if (merged) runner.merge(merged.from, merged.to);
}

async function quiet(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

async function start(names: [string, string][], concurrency = 8): Promise<{ store: QueueStore; ran: Run }> {
  const store = openStore();
  for (const [name, lane] of names) await append(store, name, lane);
  const ran = run(store, { queue: "outbox", concurrency });
  await ran.runner.start();
  await quiet();
  return { store, ran };
}

describe("merge", () => {
  it("of a lane under way: the merged lane waits for it", async () => {
    const { store, ran } = await start([["u1", USER]]);
    expect(ran.names()).toEqual(["u1"]);
    await append(store, "u2", USER);
    await append(store, "c1", DIRECT);
    await seen(store, ran);
    ran.runner.changed(DIRECT);
    await quiet();
    expect(ran.names()).toEqual(["u1"]);
    ran.attempts[0]?.end(away);
    await until(() => expect(ran.names()).toEqual(["u1", "u1"]));
    ran.attempts[1]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["u1", "u1", "u2"]));
    ran.attempts[2]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["u1", "u1", "u2", "c1"]));
  });

  it("of two lanes under way: the next begins when both have ended", async () => {
    for (const first of [0, 1]) {
      const { store, ran } = await start([
        ["u1", USER],
        ["c1", DIRECT],
        ["u2", USER],
      ]);
      expect(ran.names()).toEqual(["u1", "c1"]);
      await seen(store, ran);
      ran.attempts[first]?.end(delivered);
      await quiet();
      expect(ran.names()).toEqual(["u1", "c1"]);
      ran.attempts[1 - first]?.end(delivered);
      await until(() => expect(ran.names()).toEqual(["u1", "c1", "u2"]));
    }
  });

  it("of a lane that waits into none: it goes on waiting in its new name", async () => {
    holdTimers();
    const { store, ran } = await start([
      ["u1", USER],
      ["u2", USER],
    ]);
    ran.attempts[0]?.end({ kind: "held", afterMs: 1_000 });
    await quiet();
    await seen(store, ran);
    await quiet();
    expect(ran.names()).toEqual(["u1"]);
    await vi.advanceTimersByTimeAsync(1_000);
    await until(() => expect(ran.names()).toEqual(["u1", "u1"]));
    expect(ran.attempts[1]?.entry.lane).toBe(DIRECT);
  });

  it("of a lane under way into one that waits: its timer does not begin anything meanwhile", async () => {
    holdTimers();
    const { store, ran } = await start([
      ["c1", DIRECT],
      ["u1", USER],
    ]);
    ran.attempts[0]?.end({ kind: "held", afterMs: 1_000 });
    await quiet();
    await seen(store, ran);
    await vi.advanceTimersByTimeAsync(2_000);
    await quiet();
    expect(ran.names()).toEqual(["c1", "u1"]);
    ran.attempts[1]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["c1", "u1", "c1"]));
  });

  it("of lanes that wait for a place: one of them is served, in order of commit", async () => {
    const { store, ran } = await start(
      [
        ["x", "main\nx"],
        ["c1", DIRECT],
        ["u1", USER],
        ["c2", DIRECT],
      ],
      1,
    );
    expect(ran.names()).toEqual(["x"]);
    await seen(store, ran);
    ran.attempts[0]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["x", "c1"]));
    await quiet();
    expect(ran.names()).toEqual(["x", "c1"]);
    ran.attempts[1]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["x", "c1", "u1"]));
    ran.attempts[2]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["x", "c1", "u1", "c2"]));
  });

  it("of a ready lane into one under way: it waits", async () => {
    const { store, ran } = await start(
      [
        ["c1", DIRECT],
        ["x", "main\nx"],
        ["u1", USER],
      ],
      2,
    );
    expect(ran.names()).toEqual(["c1", "x"]);
    await seen(store, ran);
    ran.attempts[1]?.end(delivered);
    await quiet();
    expect(ran.names()).toEqual(["c1", "x"]);
    ran.attempts[0]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["c1", "x", "u1"]));
  });

  it("told late: what is under way in the old lane is not begun again in the new one", async () => {
    const { store, ran } = await start([
      ["c1", DIRECT],
      ["u1", USER],
      ["u2", USER],
    ]);
    expect(ran.names()).toEqual(["c1", "u1"]);
    const merging = seen(store, ran, true);
    ran.attempts[0]?.end(delivered);
    await merging;
    await quiet();
    expect(ran.names()).toEqual(["c1", "u1"]);
    ran.attempts[1]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["c1", "u1", "u2"]));
  });

  it("told late: what waited for a place in the old lane does not overtake the new one", async () => {
    const { store, ran } = await start(
      [
        ["c1", DIRECT],
        ["x", "main\nx"],
        ["u1", USER],
      ],
      2,
    );
    expect(ran.names()).toEqual(["c1", "x"]);
    const merging = seen(store, ran, true);
    ran.attempts[1]?.end(delivered);
    await merging;
    await quiet();
    expect(ran.names()).toEqual(["c1", "x"]);
    ran.attempts[0]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["c1", "x", "u1"]));
  });

  it("told late: what was appended to the old lane meanwhile is not forgotten", async () => {
    const { store, ran } = await start([["u1", USER]]);
    await Promise.all([seen(store, ran, true), append(store, "u2", USER).then(() => ran.runner.changed(USER))]);
    ran.attempts[0]?.end(delivered);
    await until(() => expect(ran.names()).toEqual(["u1", "u2"]));
  });

  it("of a lane nobody knows, or while stopped, harms nothing", async () => {
    const { ran, store } = await start([["c1", DIRECT]]);
    ran.runner.merge("main\nnobody", DIRECT);
    ran.runner.merge("main\nnobody", "main\nnothing");
    await quiet();
    expect(ran.names()).toEqual(["c1"]);
    ran.attempts[0]?.end(held);
    await ran.runner.stop({ signal: AbortSignal.timeout(5_000) });
    ran.runner.merge(USER, DIRECT);
    expect(ran.runner.lanes).toBe(0);
    expect(store.counts("outbox").open).toBe(1);
  });
});
