import { expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import type { RetryPolicy } from "../../src/queue/settlement.ts";
import { conversation, entry, holdTimers, openStore, turn, until } from "./helpers.ts";
import { away, delivered, failedEntry, never, run } from "./runner.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LONGEST = 5 * MINUTE;

/** As the daemon has it (app.ts), with the least age limit of the two queues. */
const retry: RetryPolicy = {
  maxAttempts: 12,
  entry: { baseMs: 1_000, capMs: LONGEST },
  peerAway: { baseMs: 1_000, capMs: 30_000 },
  maxAgeMs: 6 * HOUR,
  onUncertain: "retry",
};
/** What a peer asks for may be longer than any backoff. */
const retryAfter = (afterMs: number) => ({ ...away, afterMs }) as const;

/** The clock is set, while no time goes by. */
const setClock = (ms: number): unknown => vi.setSystemTime(Date.now() + ms);

async function waiting(outcome: Outcome, createdAt = Date.now()) {
  const store = openStore();
  await store.append(entry("a", { createdAt }));
  const one = run(store, { retry, random: () => 0.999 });
  await one.runner.start();
  await until(() => expect(one.attempts).toHaveLength(1));
  one.attempts[0]?.end(outcome);
  await until(() => expect(one.settled).toHaveLength(1));
  return { ...one, store };
}

it.each([
  ["back", -HOUR],
  ["forward", HOUR],
  ["back by a month", -30 * 24 * HOUR],
  ["forward by 5 h", 5 * HOUR],
])("clock set %s: what waits is tried within the longest backoff, and is not too old", async (_how, step) => {
  holdTimers();
  const { runner, attempts, settled, store } = await waiting(retryAfter(20 * MINUTE));
  setClock(step);
  await runner.clockStepped();
  expect(store.find("inbox", "main:a")?.dueAt).toBeLessThanOrEqual(Date.now() + LONGEST);
  await vi.advanceTimersByTimeAsync(LONGEST);
  await until(() => expect(attempts).toHaveLength(2));
  attempts[1]?.end(failedEntry);
  await until(() => expect(settled).toHaveLength(2));
  expect(settled[1]?.settlement.state).toBe("open");
  expect(store.find("inbox", "main:a")).toMatchObject({ state: "open" });
});

it.each([-HOUR, HOUR])("clock set by %i ms: a wait that is shorter already stays as it is", async (step) => {
  holdTimers();
  const { runner, attempts } = await waiting(retryAfter(MINUTE));
  setClock(step);
  await runner.clockStepped();
  await vi.advanceTimersByTimeAsync(MINUTE - 5_000);
  for (let n = 0; n < 10; n += 1) await turn();
  expect(attempts).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(5_000);
  await until(() => expect(attempts).toHaveLength(2));
});

it("clock set back, then a merge: the lane is looked up anew and does not wait for the old time", async () => {
  holdTimers();
  const store = openStore();
  const [from, to] = ["main\nuser:staff001", "main\ncidA"];
  await store.append(entry("a", { queue: "outbox", lane: from, createdAt: Date.now() }));
  const { runner, attempts, settled } = run(store, { queue: "outbox", retry });
  await runner.start();
  await until(() => expect(attempts).toHaveLength(1));
  attempts[0]?.end(retryAfter(MINUTE));
  await until(() => expect(settled).toHaveLength(1));
  setClock(-HOUR);
  await runner.clockStepped();
  const { merged } = await store.append(entry("m"), conversation({ staffId: "staff001" }));
  expect(merged).toEqual({ from, to });
  runner.merge(from, to);
  await vi.advanceTimersByTimeAsync(LONGEST);
  await until(() => expect(attempts).toHaveLength(2));
});

it("clock set back while the daemon was down: the start cuts the waits, on disk as well", async () => {
  holdTimers();
  const { runner, attempts, store } = await waiting(retryAfter(20 * MINUTE));
  await runner.stop({ signal: never });
  setClock(-24 * HOUR);
  await runner.start();
  expect(store.find("inbox", "main:a")?.dueAt).toBeLessThanOrEqual(Date.now() + LONGEST);
  await vi.advanceTimersByTimeAsync(LONGEST);
  await until(() => expect(attempts).toHaveLength(2));
  attempts[1]?.end(delivered);
  await until(() => expect(store.find("inbox", "main:a")?.state).toBe("delivered"));
});

it("clock set while the daemon is stopped: nothing happens", async () => {
  holdTimers();
  const { runner, attempts, store } = await waiting(retryAfter(20 * MINUTE));
  await runner.stop({ signal: never });
  const before = store.find("inbox", "main:a")?.dueAt;
  setClock(-HOUR);
  await runner.clockStepped();
  for (let n = 0; n < 10; n += 1) await turn();
  expect([attempts.length, store.find("inbox", "main:a")?.dueAt]).toEqual([1, before]);
});
