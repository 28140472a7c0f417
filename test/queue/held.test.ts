import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { type HeldBounds, HeldEntries } from "../../src/queue/held.ts";
import type { Entry, QueueStore } from "../../src/queue/store.ts";
import {
  crashImage,
  entry,
  holdTimers,
  openStore,
  openWithHandle,
  temporaryDirectory,
  turn,
  until,
} from "./helpers.ts";
import { away, delivered, eager, nameOf, never, run } from "./runner.ts";

const held = (afterMs = 15_000): Outcome => ({ kind: "held", afterMs });
const rejected: Outcome = { kind: "rejected", code: "rejected", detail: "" };
const bounds: HeldBounds = { perLane: 5, perGroup: 15, group: () => undefined };
const direct: HeldBounds = { ...bounds, group: (lane) => (lane.includes("group") ? undefined : "main") };
const A = "main\ncidA";
const B = "main\ncidB";

async function append(store: QueueStore, names: string[], lane = A): Promise<void> {
  for (const name of names) await store.append(entry(name, { lane, sender: "staff001", createdAt: Date.now() }));
}

async function quiet(): Promise<void> {
  for (let i = 0; i < 30; i += 1) await turn();
}

describe("the places", () => {
  it("are so many in a group, given first come first, and forgotten with the last", () => {
    const called: string[] = [];
    const entries = new HeldEntries({ perLane: 5, perGroup: 2, group: () => "main" }, (lane) => called.push(lane));
    entries.take("a")?.keep(1, 100);
    const b = entries.take("b");
    expect([entries.take("c"), entries.take("d")]).toEqual([undefined, undefined]);
    expect([entries.waits("c"), entries.waits("a")]).toEqual([true, false]);
    b?.free();
    expect(called).toEqual(["c"]);
    // The place is kept for c: nobody comes in between.
    expect(entries.take("e")).toBeUndefined();
    entries.leave("c");
    expect(called).toEqual(["c", "d"]);
    entries.take("d")?.keep(2, 100);
    entries.release("a", 1);
    entries.keepOnly("d", []);
    expect(called).toEqual(["c", "d", "e"]);
    entries.take("e")?.free();
    expect(entries.size).toBe(0);
  });

  it("are without bound where there is no group", () => {
    const entries = new HeldEntries({ perLane: 2, perGroup: 1, group: () => undefined }, () => expect.fail());
    entries.take("a")?.keep(1, 1);
    entries.take("a")?.keep(2, 1);
    expect([entries.isFull("a"), entries.isFull("b")]).toEqual([true, false]);
    entries.take("b")?.keep(3, 1);
    entries.askAllLater("a", 7);
    entries.askBy(5);
    expect([entries.askAt("a", 1), entries.askAt("b", 3)]).toEqual([5, 1]);
    entries.clear();
    expect(entries.size).toBe(0);
  });
});

describe("a lane", () => {
  async function start(names: string[], options: { group?: HeldBounds; store?: QueueStore } = {}) {
    const store = options.store ?? openStore();
    await append(store, names);
    const ran = run(store, { held: options.group ?? bounds });
    await ran.runner.start();
    /** Ends attempts as they come, and returns which they were. */
    const play = async (...outcomes: Outcome[]): Promise<string[]> => {
      const seen: string[] = [];
      for (const outcome of outcomes) {
        const at = position;
        position += 1;
        await until(() => expect(ran.attempts.length).toBeGreaterThan(at));
        const one = ran.attempts[at];
        if (one) seen.push(nameOf(one.entry));
        one?.end(outcome);
        await quiet();
      }
      return seen;
    };
    let position = 0;
    return { store, ...ran, play };
  }

  it("gives the next while the first is held, each preceded by those that are held", async () => {
    holdTimers();
    const { store, runner, play, names } = await start(["1"]);
    expect(await play(held())).toEqual(["1"]);
    await append(store, ["2"]);
    runner.changed(A);
    expect(await play(held(), held())).toEqual(["1", "2"]);
    expect(runner.isHeld(A)).toBe(true);
    await append(store, ["3", "4"]);
    runner.changed(A);
    expect(await play(delivered, held(), held(), held())).toEqual(["1", "2", "3", "4"]);
    // Held ones are asked about at their time, all of them, in order.
    await vi.advanceTimersByTimeAsync(14_999);
    await quiet();
    expect(names()).toHaveLength(7);
    await vi.advanceTimersByTimeAsync(1);
    expect(await play(delivered, delivered, delivered)).toEqual(["2", "3", "4"]);
    expect([runner.lanes, runner.heldSize, runner.isHeld(A)]).toEqual([0, 0, false]);
  });

  it("gives at most five, and the sixth when the first is taken", async () => {
    holdTimers();
    const { play, names } = await start(["1", "2", "3", "4", "5", "6", "7"]);
    expect(await play(held(), held(), held(), held(), held())).toEqual(["1", "2", "3", "4", "5"]);
    await vi.advanceTimersByTimeAsync(14_000);
    await quiet();
    expect(names()).toHaveLength(5);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await play(delivered, held(), held(), held(), held(), held())).toEqual(["1", "2", "3", "4", "5", "6"]);
    await quiet();
    expect(names()).toHaveLength(11);
  });

  it("stops at the first that fails, and goes on from there: nothing overtakes it, before its time neither", async () => {
    holdTimers();
    const { store, runner, play, names } = await start(["1", "2", "3"]);
    await play(held(5_000), held(9_000), held(20_000));
    await vi.advanceTimersByTimeAsync(5_000);
    // The gateway asks for patience.
    await play({ ...away, afterMs: 60_000 } as Outcome);
    await append(store, ["4"]);
    runner.changed(A);
    const before = names().length;
    await vi.advanceTimersByTimeAsync(59_000);
    await quiet();
    expect(names().length - before).toBe(0);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await play(held(), delivered, held(), held())).toEqual(["1", "2", "3", "4"]);
  });

  it("goes on at once when the peer is back", async () => {
    holdTimers();
    const { runner, play } = await start(["1", "2", "3"]);
    await play(held(), held(), held());
    await vi.advanceTimersByTimeAsync(15_000);
    await play({ ...away, afterMs: 60_000 } as Outcome);
    runner.retryNow();
    expect(await play(delivered, delivered, delivered)).toEqual(["1", "2", "3"]);
  });

  it("goes on when a stop word has cancelled all that it held, and all it could hold", async () => {
    holdTimers();
    const store = openStore();
    const { runner, play, settled } = await start(["1", "2", "3", "4", "5"], { store });
    await play(held(), held(), held(), held(), held());
    await store.append(entry("6", { sender: "staff002", createdAt: Date.now() }));
    await store.append(entry("stop", { lane: B, sender: "staff001", cancels: { lane: A }, createdAt: Date.now() }));
    runner.changed(B);
    runner.changed(A);
    expect((await play(delivered, delivered)).toSorted()).toEqual(["6", "stop"]);
    expect(
      settled
        .map(({ name }) => name)
        .slice(-2)
        .toSorted(),
    ).toEqual(["6", "stop"]);
    expect(store.find("inbox", "main:3")).toMatchObject({ state: "cancelled", error: { code: "stopped" } });
    expect([runner.lanes, runner.heldSize]).toEqual([0, 0]);
  });

  it("forgets one that its sender stopped while it was asked about, and one that was refused", async () => {
    holdTimers();
    const store = openStore();
    const { runner, attempts, play, names } = await start(["1", "2", "3"], { store });
    await play(held(), held(), held());
    await vi.advanceTimersByTimeAsync(15_000);
    await play(rejected);
    await until(() => expect(names()).toHaveLength(5));
    await store.append(entry("stop", { lane: B, sender: "staff001", cancels: { lane: A }, createdAt: Date.now() }));
    attempts[4]?.end(held());
    runner.changed(A);
    await until(() => expect(runner.lanes).toBe(0));
    expect(runner.heldSize).toBe(0);
    expect(["1", "2", "3"].map((name) => store.find("inbox", `main:${name}`)?.state)).toEqual([
      "dead",
      "cancelled",
      "cancelled",
    ]);
  });

  it("asks about all in order after a restart, and keeps nothing of before", async () => {
    holdTimers();
    const { runner, play } = await start(["1", "2", "3"]);
    await play(held(), held(), held());
    await runner.stop({ signal: never });
    expect(runner.heldSize).toBe(0);
    await runner.start();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await play(held(), held(), held())).toEqual(["1", "2", "3"]);
  });

  it("with a message replayed in front of those that are held does not wait for ever", async () => {
    holdTimers();
    const store = openStore();
    const { runner, play } = await start(["0", "1", "2", "3", "4", "5"], { store });
    await play(rejected, held(), held(), held(), held(), held());
    await store.replay("inbox", "main:0", Date.now());
    runner.changed(A);
    await vi.advanceTimersByTimeAsync(15_000);
    await play(delivered, delivered, delivered, delivered, delivered, delivered);
    await until(() => expect(store.counts("inbox").open).toBe(0));
  });
});

describe("the direct conversations of an account", () => {
  it("have fifteen held together, those under way included; groups and others are not concerned", async () => {
    holdTimers();
    const store = openStore();
    for (let n = 0; n < 20; n += 1) await append(store, [`d${n}`], `main\nperson${n}`);
    await append(store, ["g"], "main\ngroup");
    const { runner, attempts, names } = run(store, { held: direct, concurrency: 64 });
    await runner.start();
    await until(() => expect(names()).toHaveLength(16));
    await quiet();
    expect(names()).toHaveLength(16);
    expect(names()).toContain("g");
    for (const one of attempts.slice(0, 10)) one.end(held(15_000));
    await quiet();
    expect([names().length, runner.isHeld("main\nperson19"), runner.isHeld("main\nperson14")]).toEqual([
      16,
      true,
      false,
    ]);
    // One that is taken makes room for one that waits, the first of them.
    attempts[12]?.end(delivered);
    await until(() => expect(names()).toHaveLength(17));
    expect(names().at(-1)).toBe("d15");
    attempts[13]?.end({ ...away, afterMs: 1_000 } as Outcome);
    await until(() => expect(names()).toHaveLength(18));
    expect(names().at(-1)).toBe("d16");
  });

  it("all get their turn, whatever the answers, and nothing is remembered at the end", async () => {
    const empty = temporaryDirectory();
    await openStore(empty).close();
    const answers = fc.constantFrom<Outcome>(held(0), held(0), held(1), away, rejected, delivered, delivered);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 7 }), { minLength: 1, maxLength: 40 }),
        fc.infiniteStream(fc.record({ answer: answers, turns: fc.nat({ max: 2 }) })),
        async (lanes, whims) => {
          const { store, db } = openWithHandle(crashImage(empty));
          db.exec("PRAGMA synchronous = OFF");
          const most = { group: 0 };
          const heldNow = new Set<number>();
          const underWay = new Set<number>();
          const firsts: string[] = [];
          const work = async (one: Entry): Promise<Outcome> => {
            const isDirect = !one.lane.includes("group");
            if (isDirect) underWay.add(one.seq);
            most.group = Math.max(most.group, heldNow.union(underWay).size);
            if (!firsts.includes(one.id)) firsts.push(one.id);
            const { value } = whims.next();
            for (let i = 0; i < value.turns; i += 1) await turn();
            if (isDirect && value.answer.kind === "held") heldNow.add(one.seq);
            if (value.answer.kind === "delivered" || value.answer.kind === "rejected") heldNow.delete(one.seq);
            underWay.delete(one.seq);
            return value.answer;
          };
          const { runner } = run(store, {
            work,
            held: { perLane: 2, perGroup: 3, group: direct.group },
            concurrency: 4,
            retry: eager,
          });
          for (const [n, lane] of lanes.entries()) {
            await append(store, [`${n}`], lane < 6 ? `main\nperson${lane}` : `main\ngroup${lane}`);
          }
          await runner.start();
          await until(() => expect(store.counts("inbox").open).toBe(0));
          await until(() => expect(runner.lanes).toBe(0));
          expect(runner.heldSize).toBe(0);
          expect(most.group).toBeLessThanOrEqual(3);
          for (const lane of new Set(lanes)) {
            const order = firsts.filter((id) => lanes[Number(id.slice(5))] === lane).map((id) => Number(id.slice(5)));
            expect(order).toEqual(order.toSorted((a, b) => a - b));
          }
          await runner.stop({ signal: never });
          await store.close();
        },
      ),
      { numRuns: 100 },
    );
  });
});
