import { expect, it } from "vitest";
import { entry, openStore, turn, until } from "./helpers.ts";
import { delivered, never, run } from "./runner.ts";

const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;

it("stop waits for what runs, begins nothing new, and start goes on", async () => {
  const store = openStore();
  for (const name of ["a1", "a2"]) await store.append(entry(name));
  await store.append(entry("b1", { lane: "main\ncidB" }));
  const { runner, attempts, names } = run(store, { concurrency: 1 });
  await runner.start();
  await until(() => expect(names()).toEqual(["a1"]));
  let over = false;
  const stopped = runner.stop({ signal: never }).then(() => (over = true));
  for (let i = 0; i < 10; i += 1) await turn();
  expect([over, attempts[0]?.signal.aborted]).toEqual([false, false]);
  attempts[0]?.end(delivered);
  await stopped;
  runner.changed("main\ncidB");
  for (let i = 0; i < 10; i += 1) await turn();
  expect(names()).toEqual(["a1"]);
  expect(store.find("inbox", "main:a1")?.state).toBe("delivered");
  expect(runner.health().status).toBe("starting");
  await runner.start();
  await until(() => expect(names()).toEqual(["a1", "a2"]));
  attempts[1]?.end(delivered);
  await until(() => expect(names()).toEqual(["a1", "a2", "b1"]));
  expect(attempts[2]?.signal.aborted).toBe(false);
});

it("a deadline aborts what runs; an attempt that breaks off is uncertain and counts for nothing", async () => {
  const store = openStore();
  for (const name of ["a", "b"]) await store.append(entry(name, { lane: `main\n${name}` }));
  const { runner, attempts, names } = run(store);
  await runner.start();
  await until(() => expect(names()).toEqual(["a", "b"]));
  const deadline = new AbortController();
  const first = runner.stop({ signal: never });
  const second = runner.stop({ signal: deadline.signal });
  deadline.abort(new Error("25 s are over"));
  expect(attempts.map(({ signal }) => signal.aborted)).toEqual([true, true]);
  attempts[0]?.fail(new Error("aborted"));
  attempts[1]?.end(delivered);
  await Promise.all([first, second]);
  const cutOff = { state: "open", begun: false, attempts: 0, uncertain: true, error: { code: "interrupted" } };
  expect(store.find("inbox", "main:a")).toMatchObject(cutOff);
  expect(store.find("inbox", "main:b")).toMatchObject({ state: "delivered" });
});

it("an attempt whose begin a stop overtook is not made, and is not held against the entry", async () => {
  const store = openStore();
  await store.append(entry("a"));
  const { runner, names } = run(store);
  await runner.start();
  await runner.stop({ signal: never });
  expect(names()).toEqual([]);
  expect(store.find("inbox", "main:a")).toMatchObject({ state: "open", begun: false, attempts: 0, uncertain: false });
});

it("a start during a stop waits for it: no entry is under way twice", async () => {
  const store = openStore();
  for (const name of ["a1", "a2"]) await store.append(entry(name));
  const { runner, attempts, names } = run(store);
  await runner.start();
  await until(() => expect(names()).toEqual(["a1"]));
  const stopped = runner.stop({ signal: never });
  const started = runner.start();
  for (let i = 0; i < 10; i += 1) await turn();
  expect(names()).toEqual(["a1"]);
  attempts[0]?.end(delivered);
  await Promise.all([stopped, started]);
  await until(() => expect(names()).toEqual(["a1", "a2"]));
});

it("ten callers that start and stop at random leave it as the last one wanted, with nothing left", async () => {
  const before = timers();
  const store = openStore();
  await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      store.append(entry(`${i}`, { lane: `main\n${i % 20}`, createdAt: Date.now() })),
    ),
  );
  const underWay = new Set<number>();
  let begun = 0;
  const { runner } = run(store, {
    retry: {
      maxAttempts: 1_000_000,
      entry: { baseMs: 1, capMs: 3 },
      peerAway: { baseMs: 1, capMs: 3 },
      maxAgeMs: 1e15,
      onUncertain: "retry",
    },
    work: async ({ seq }) => {
      begun += 1;
      expect(underWay.has(seq)).toBe(false);
      underWay.add(seq);
      await turn();
      underWay.delete(seq);
      return begun % 3 === 0 ? { kind: "retry", class: "entry", code: "gateway_unavailable" } : delivered;
    },
  });
  await runner.stop({ signal: never });
  await Promise.all(
    Array.from({ length: 10 }, async (_, caller) => {
      for (let i = 0; i < 50; i += 1) {
        if ((i + caller) % 2 === 0) await runner.start();
        else await runner.stop({ signal: i % 7 === 0 ? AbortSignal.abort() : never });
        if (i % 5 === caller % 5) await turn();
      }
    }),
  );
  await Promise.all([runner.start(), runner.stop({ signal: never })]);
  expect([runner.lanes, underWay.size]).toEqual([0, 0]);
  expect(timers()).toBeLessThanOrEqual(before);
  expect(runner.health().status).toBe("starting");
  await Promise.all([runner.stop({ signal: never }), runner.start()]);
  await until(() => expect(store.counts("inbox").open).toBe(0));
  await runner.stop({ signal: never });
  expect(timers()).toBeLessThanOrEqual(before);
  expect(store.deadLetters({ limit: 10 })).toEqual([]);
});
