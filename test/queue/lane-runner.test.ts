import { describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import type { RetryPolicy } from "../../src/queue/settlement.ts";
import type { NewEntry, QueueStore } from "../../src/queue/store.ts";
import { crashImage, entry, holdTimers, openStore, temporaryDirectory, turn, until } from "./helpers.ts";
import { away, delivered, eager, failedEntry, never, run } from "./runner.ts";

const A = "main\ncidA";
const B = "main\ncidB";
const uncertain: Outcome = { kind: "uncertain", code: "gateway_timeout", detail: "no answer" };

const append = (store: QueueStore, names: string[], fields: Partial<NewEntry> = {}): Promise<unknown> =>
  Promise.all(names.map((name) => store.append(entry(name, { createdAt: Date.now(), ...fields }))));

/** Long enough for anything that is going to happen: a commit takes one turn. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

describe("order", () => {
  it("begins the next entry of a lane when the one before is settled, and lanes side by side", async () => {
    const store = openStore();
    await append(store, ["a1", "a2", "a3"]);
    await append(store, ["b1", "b2"], { lane: B });
    const { runner, attempts, names } = run(store);
    await runner.start();
    await until(() => expect(names()).toEqual(["a1", "b1"]));
    attempts[0]?.end(away);
    await until(() => expect(names()).toEqual(["a1", "b1", "a1"]));
    attempts[2]?.end(delivered);
    await until(() => expect(names()).toEqual(["a1", "b1", "a1", "a2"]));
    expect(store.find("inbox", "main:a1")?.state).toBe("delivered");
    expect(store.find("inbox", "main:b1")).toMatchObject({ state: "open", begun: true });
  });

  it("keeps to its concurrency and takes lanes in turn", async () => {
    const store = openStore();
    for (const lane of ["1", "2", "3", "4"]) await append(store, [`${lane}x`, `${lane}y`], { lane });
    const { runner, attempts, names } = run(store, { concurrency: 2 });
    await runner.start();
    await settle();
    expect(names()).toEqual(["1x", "2x"]);
    attempts[0]?.end(delivered);
    await until(() => expect(names()).toEqual(["1x", "2x", "3x"]));
    attempts[2]?.end(delivered);
    await until(() => expect(names()).toEqual(["1x", "2x", "3x", "4x"]));
    attempts[3]?.end(delivered);
    await until(() => expect(names()).toEqual(["1x", "2x", "3x", "4x", "1y"]));
  });

  it("a lane that waits to try again takes no place", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a1", "a2"]);
    await append(store, ["b1", "b2"], { lane: B });
    const { runner, attempts, names } = run(store, { concurrency: 1 });
    await runner.start();
    await until(() => expect(names()).toEqual(["a1"]));
    attempts[0]?.end({ kind: "held", afterMs: 15_000 });
    await until(() => expect(names()).toEqual(["a1", "b1"]));
    attempts[1]?.end(delivered);
    await until(() => expect(names()).toEqual(["a1", "b1", "b2"]));
    attempts[2]?.end(delivered);
    await settle();
    await vi.advanceTimersByTimeAsync(15_000);
    await until(() => expect(names()).toEqual(["a1", "b1", "b2", "a1"]));
  });
});

describe("outcomes", () => {
  async function one(outcomes: (Outcome | Error)[], retry: Partial<RetryPolicy> = {}, createdAt = Date.now()) {
    const store = openStore();
    await append(store, ["a"], { createdAt });
    const { runner, attempts, settled } = run(store, { retry: { ...eager, ...retry } });
    await runner.start();
    for (const [n, outcome] of outcomes.entries()) {
      await until(() => expect(attempts).toHaveLength(n + 1));
      if (outcome instanceof Error) attempts[n]?.fail(outcome);
      else attempts[n]?.end(outcome);
      await until(() => expect(settled).toHaveLength(n + 1));
    }
    return store.find("inbox", "main:a");
  }

  it("counts neither a peer that is away, nor held, nor uncertain", async () => {
    const held: Outcome = { kind: "held", afterMs: 0 };
    expect(await one([away, held, uncertain, away, uncertain], { maxAttempts: 2 })).toMatchObject({
      state: "open",
      attempts: 0,
      uncertain: true,
    });
  });

  it("gives up an entry after so many attempts that count, and names the last failure", async () => {
    expect(await one([failedEntry, away, failedEntry, failedEntry], { maxAttempts: 3 })).toMatchObject({
      state: "dead",
      error: { code: "attempts_exhausted", detail: expect.stringContaining("gateway_bad_answer") },
    });
  });

  it("gives up what stays without an answer while the peer answers others, and says that it may have been sent", async () => {
    const counted: Outcome = { ...uncertain, counted: true };
    expect(await one([counted, uncertain, counted, counted], { maxAttempts: 3 })).toMatchObject({
      state: "dead",
      uncertain: true,
      error: { code: "attempts_exhausted", detail: expect.stringContaining("gateway_timeout") },
    });
  });

  it("gives up after five faults of our own, whatever the limit", async () => {
    const ended = await one(Array.from({ length: 5 }, () => new Error("a defect")));
    expect(ended).toMatchObject({ state: "dead", error: { code: "attempts_exhausted" } });
    expect(ended?.error?.detail).toContain("internal a defect");
  });

  it("gives up an entry past its age after one more attempt, whatever failed", async () => {
    for (const outcome of [away, failedEntry, uncertain, { kind: "held", afterMs: 1 } as const]) {
      expect(await one([outcome], { maxAgeMs: 1_000 }, Date.now() - 2_000)).toMatchObject({
        state: "dead",
        error: { code: "too_old" },
      });
    }
    expect(await one([delivered], { maxAgeMs: 1_000 }, Date.now() - 2_000)).toMatchObject({ state: "delivered" });
  });

  it("gives an entry the age that is its own", async () => {
    const late = Date.now() - 2_000;
    expect(await one([away, delivered], { maxAgeMs: 1_000, maxAgeOf: () => 60_000 }, late)).toMatchObject({
      state: "delivered",
    });
    expect(await one([away], { maxAgeMs: 1_000, maxAgeOf: () => undefined }, late)).toMatchObject({ state: "dead" });
  });

  it("holds what may have been sent, when told so", async () => {
    expect(await one([uncertain], { onUncertain: "hold" })).toMatchObject({
      state: "dead",
      uncertain: true,
      error: { code: "gateway_timeout", detail: expect.stringContaining("no answer") },
    });
  });

  it("a rejected entry is a dead letter at once", async () => {
    expect(await one([{ kind: "rejected", code: "no_route", detail: "nobody there" }])).toMatchObject({
      state: "dead",
      error: { code: "no_route", detail: "nobody there" },
    });
  });

  it("waits in whole milliseconds, for an odd Retry-After too", async () => {
    expect(await one([{ ...away, afterMs: 0.25 } as Outcome, { ...away, afterMs: -5 } as Outcome])).toMatchObject({
      state: "open",
    });
  });

  it("a listener that fails harms nobody", async () => {
    const store = openStore();
    await append(store, ["a1", "a2"]);
    const { runner } = run(store, {
      work: () => Promise.resolve(delivered),
      onSettled: () => {
        throw new Error("a defect");
      },
    });
    await runner.start();
    await until(() => expect(store.counts("inbox").open).toBe(0));
  });

  it("paces a peer that stays away more slowly each time, up to the cap", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a"]);
    const peerAway = { baseMs: 1_000, capMs: 4_000 };
    const { runner, attempts, settled } = run(store, { retry: { ...eager, peerAway }, random: () => 1 });
    await runner.start();
    for (const [n, wait] of [1_000, 2_000, 4_000, 4_000].entries()) {
      await until(() => expect(attempts).toHaveLength(n + 1));
      attempts[n]?.end(away);
      await until(() => expect(settled).toHaveLength(n + 1));
      await settle();
      await vi.advanceTimersByTimeAsync(wait - 1);
      await settle();
      expect(attempts).toHaveLength(n + 1);
      await vi.advanceTimersByTimeAsync(1);
    }
  });

  it("when told that the peer is back, tries at once what waited for it and nothing else", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a"]);
    await append(store, ["b"], { lane: B });
    const { runner, attempts, names } = run(store);
    await runner.start();
    await until(() => expect(names()).toEqual(["a", "b"]));
    attempts[0]?.end({ kind: "held", afterMs: 60_000 });
    attempts[1]?.end({ kind: "retry", class: "peer-away", code: "gateway_unreachable", afterMs: 60_000 });
    await settle();
    runner.retryNow();
    runner.retryNow();
    await settle();
    expect(names()).toEqual(["a", "b", "b"]);
    await vi.advanceTimersByTimeAsync(60_000);
    await until(() => expect(names()).toEqual(["a", "b", "b", "a"]));
  });

  it("does not try at once what is due in months", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a"]);
    const { runner, attempts } = run(store);
    await runner.start();
    await until(() => expect(attempts).toHaveLength(1));
    attempts[0]?.end({ kind: "held", afterMs: 2 ** 32 });
    await settle();
    await vi.advanceTimersByTimeAsync(2 ** 31 - 2);
    await settle();
    expect(attempts).toHaveLength(1);
  });
});

describe("changed", () => {
  it("finds new work for an idle lane, and leaves a busy one in peace", async () => {
    const store = openStore();
    const { runner, attempts, names } = run(store);
    await runner.start();
    await append(store, ["a1"]);
    runner.changed(A);
    await until(() => expect(names()).toEqual(["a1"]));
    await append(store, ["a2"]);
    runner.changed(A);
    runner.changed(A);
    await settle();
    expect(names()).toEqual(["a1"]);
    attempts[0]?.end(delivered);
    await until(() => expect(names()).toEqual(["a1", "a2"]));
    attempts[1]?.end(delivered);
    await until(() => expect(runner.lanes).toBe(0));
  });

  it("lets a lane that waits go on waiting for the same entry, and turns to another", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a1", "a2"]);
    const { runner, attempts, names } = run(store);
    await runner.start();
    await until(() => expect(names()).toEqual(["a1"]));
    attempts[0]?.end({ kind: "held", afterMs: 60_000 });
    await settle();
    runner.changed(A);
    await settle();
    expect(names()).toEqual(["a1"]);
    await store.cancel("inbox", "main:a1", 1);
    runner.changed(A);
    await until(() => expect(names()).toEqual(["a1", "a2"]));
  });

  it("serves a replayed dead letter first", async () => {
    const store = openStore();
    await append(store, ["a1", "a2", "a3"]);
    const { runner, attempts, names } = run(store);
    await runner.start();
    await until(() => expect(names()).toEqual(["a1"]));
    attempts[0]?.end({ kind: "rejected", code: "rejected", detail: "" });
    await until(() => expect(names()).toEqual(["a1", "a2"]));
    await store.replay("inbox", "main:a1", 1);
    runner.changed(A);
    attempts[1]?.end(delivered);
    await until(() => expect(names()).toEqual(["a1", "a2", "a1"]));
  });

  it("passes over what was cancelled while it waited for a place", async () => {
    const store = openStore();
    await append(store, ["a1"]);
    await append(store, ["b1", "b2"], { lane: B });
    const { runner, attempts, names } = run(store, { concurrency: 1 });
    await runner.start();
    await until(() => expect(names()).toEqual(["a1"]));
    await store.cancel("inbox", "main:b1", 1);
    attempts[0]?.end(delivered);
    await until(() => expect(names()).toEqual(["a1", "b2"]));
  });
});

describe("crashes", () => {
  /** What a new process finds after the attempts at `names` were under way in `times` crashes. */
  async function crashed(names: string[], times: number): Promise<QueueStore> {
    let directory = temporaryDirectory();
    let store = openStore(directory);
    for (const name of names) await append(store, [name], { lane: `main\n${name}` });
    for (let i = 0; i < times; i += 1) {
      for (const { seq } of store.heads("inbox")) await store.begin(seq);
      directory = crashImage(directory);
      store = openStore(directory);
    }
    return store;
  }

  it("after a second crash, what was under way runs one at a time beside the others", async () => {
    const store = await crashed(["s1", "s2"], 2);
    await append(store, ["x"], { lane: "main\nx" });
    await append(store, ["y"], { lane: "main\ny" });
    const { runner, attempts, names } = run(store);
    await runner.start();
    await settle();
    expect(names().sort()).toEqual(["s1", "x", "y"]);
    expect(store.find("inbox", "main:s2")?.begun).toBe(false);
    attempts.find(({ entry: { id } }) => id === "main:s1")?.end(delivered);
    await until(() => expect(names()).toContain("s2"));
  });

  it("an entry under way in five crashes is a dead letter without another attempt", async () => {
    const store = await crashed(["s1"], 5);
    const { runner, names } = run(store);
    await runner.start();
    await until(() => expect(store.find("inbox", "main:s1")?.state).toBe("dead"));
    expect(store.find("inbox", "main:s1")?.error).toMatchObject({ code: "crash_loop" });
    expect(names()).toEqual([]);
  });

  it("a clock set back by a day delays nothing by more than the longest pause", async () => {
    holdTimers();
    const store = openStore();
    await append(store, ["a"]);
    const seq = store.heads("inbox")[0]?.seq ?? 0;
    await store.settle(seq, { state: "open", dueAt: Date.now() + 86_400_000, counted: true });
    await append(store, ["b"], { lane: B, createdAt: Date.now() + 86_400_000 });
    const { runner, names } = run(store, { retry: { ...eager, entry: { baseMs: 1_000, capMs: 300_000 } } });
    await runner.start();
    await until(() => expect(names()).toEqual(["b"]));
    await vi.advanceTimersByTimeAsync(300_000);
    await until(() => expect(names()).toEqual(["b", "a"]));
  });
});

describe("a store that fails", () => {
  /** The store, whose named write fails while told so. */
  function failing(store: QueueStore, method: "begin" | "settle" | "front"): { store: QueueStore; down: boolean } {
    const state = { store, down: false };
    state.store = new Proxy(store, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (state.down && property === method) {
            const error = new Error("disk full");
            if (method === "front") throw error;
            return Promise.reject(error);
          }
          return Reflect.apply(value, target, args);
        };
      },
    });
    return state;
  }

  it.each(["begin", "settle", "front"] as const)(
    "%s: the lane waits, nothing is lost or done twice",
    async (method) => {
      holdTimers();
      const store = openStore();
      await append(store, ["a1", "a2"]);
      const double = failing(store, method);
      const { runner, attempts, names, settled } = run(double.store);
      double.down = method === "begin";
      await runner.start();
      if (method !== "begin") {
        await until(() => expect(names()).toEqual(["a1"]));
        double.down = true;
        attempts[0]?.end(delivered);
      }
      await until(() => expect(runner.health()).toMatchObject({ status: "down", detail: "disk full" }));
      await settle();
      await vi.advanceTimersByTimeAsync(3_000);
      await settle();
      expect(names()).toEqual(method === "begin" ? [] : ["a1"]);
      expect(settled).toHaveLength(method === "front" ? 1 : 0);
      double.down = false;
      await vi.advanceTimersByTimeAsync(1_000);
      if (method === "begin") {
        await until(() => expect(names()).toEqual(["a1"]));
        attempts[0]?.end(delivered);
      }
      await until(() => expect(names()).toEqual(["a1", "a2"]));
      expect(runner.health()).toEqual({ status: "ok" });
      expect(settled.map(({ name }) => name)).toEqual(["a1"]);
      expect(store.find("inbox", "main:a1")?.state).toBe("delivered");
    },
  );

  it("a stop does not wait for it; the entry counts as interrupted, and nobody is told that it was settled", async () => {
    const store = openStore();
    await append(store, ["a1"]);
    const double = failing(store, "settle");
    const { runner, attempts, names, settled } = run(double.store);
    await runner.start();
    await until(() => expect(names()).toEqual(["a1"]));
    double.down = true;
    const stopped = runner.stop({ signal: never });
    attempts[0]?.end(delivered);
    await stopped;
    expect(settled).toEqual([]);
    expect(store.find("inbox", "main:a1")).toMatchObject({ state: "open", begun: true });
  });
});
