import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WindowLimiter } from "../../src/queue/limiter.ts";

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const ended = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "done",
    (error: unknown) => String(error),
  );

/** Largest number of times within any span shorter than `windowMs`. */
function most(times: number[], windowMs: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return Math.max(0, ...sorted.map((from) => sorted.filter((at) => at >= from && at < from + windowMs).length));
}

describe("WindowLimiter", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  });
  afterEach(() => {
    const left = vi.getTimerCount();
    vi.useRealTimers();
    expect(left).toBe(0);
  });

  it("calls off what waits, and does not hold a slot for what was not sent", async () => {
    const limiter = new WindowLimiter({ cap: 1, windowMs: 100 });
    const ran: string[] = [];
    const task = (name: string) => async (): Promise<void> => void ran.push(name);
    const { promise: sending, resolve: answered } = Promise.withResolvers<void>();
    const first = limiter.run(() => sending);
    const callOff = new AbortController();
    const { signal } = callOff;
    const waiting = ended(limiter.run(task("called off"), { signal }));
    const unsent = limiter.run(task("unsent"), { used: () => false });
    const next = limiter.run(task("next"));
    callOff.abort(new Error("not any more"));
    expect(await waiting).toBe("Error: not any more");
    expect(await ended(limiter.run(task("too late"), { signal }))).toBe("Error: not any more");
    answered();
    await first;
    await vi.advanceTimersByTimeAsync(101);
    await Promise.all([unsent, next]);
    expect(ran).toEqual(["unsent", "next"]);
    limiter.close();
  });

  it("the receiver never counts more than the cap in any window", async () => {
    const request = fc.record({
      after: fc.nat({ max: 150 }),
      there: fc.nat({ max: 200 }),
      back: fc.nat({ max: 200 }),
      fails: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(request, { maxLength: 40 }),
        fc.nat({ max: 10_000_000 }),
        async (cap, requests, jump) => {
          const limiter = new WindowLimiter({ cap, windowMs: 100 });
          const arrivals: number[] = [];
          const results: Promise<string>[] = [];
          for (const [n, { after, there, back, fails }] of requests.entries()) {
            await vi.advanceTimersByTimeAsync(after);
            // The wall clock may jump; only monotonic time counts.
            if (n === 10) vi.setSystemTime(jump);
            const send = async (): Promise<void> => {
              await later(there);
              arrivals.push(performance.now());
              await later(back);
              if (fails) throw new Error("refused");
            };
            results.push(ended(limiter.run(send)));
          }
          await vi.runAllTimersAsync();
          expect(await Promise.all(results)).toEqual(requests.map(({ fails }) => (fails ? "Error: refused" : "done")));
          expect(most(arrivals, 100)).toBeLessThanOrEqual(cap);
          expect(arrivals).toHaveLength(requests.length);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("uses the cap: what comes at once after a pause goes at once", async () => {
    const limiter = new WindowLimiter({ cap: 3, windowMs: 100 });
    let sent = 0;
    const send = (): Promise<number> => Promise.resolve((sent += 1));
    const all = Array.from({ length: 7 }, () => limiter.run(send));
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toBe(3);
    await vi.advanceTimersByTimeAsync(100);
    expect(sent).toBe(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent).toBe(6);
    await vi.runAllTimersAsync();
    expect(await Promise.all(all)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it("answers with the task, not with the slot; a task that throws at once fails its caller alone", async () => {
    const limiter = new WindowLimiter({ cap: 1, windowMs: 1_000 });
    const broken = (): Promise<never> => {
      throw new Error("a defect");
    };
    await expect(limiter.run(broken)).rejects.toThrow("a defect");
    const second = limiter.run(() => Promise.resolve("ok"));
    await vi.advanceTimersByTimeAsync(1_001);
    expect(await second).toBe("ok");
    limiter.close();
  });

  it("takes the highest priority of those that wait, and among equals the first, within the cap", async () => {
    const task = fc.record({
      after: fc.nat({ max: 80 }),
      priority: fc.integer({ min: 0, max: 2 }),
      takes: fc.nat({ max: 150 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(task, { maxLength: 30 }), async (cap, tasks) => {
        const limiter = new WindowLimiter({ cap, windowMs: 100 });
        const waiting: { n: number; priority: number }[] = [];
        const starts: number[] = [];
        const all: Promise<void>[] = [];
        for (const [n, { after, priority, takes }] of tasks.entries()) {
          await vi.advanceTimersByTimeAsync(after);
          const run = async (): Promise<void> => {
            const best = waiting.toSorted((a, b) => b.priority - a.priority || a.n - b.n)[0];
            expect(best?.n).toBe(n);
            waiting.splice(
              waiting.findIndex((one) => one.n === n),
              1,
            );
            starts.push(performance.now());
            await later(takes);
          };
          waiting.push({ n, priority });
          all.push(limiter.run(run, priority === 0 ? {} : { priority }));
        }
        await vi.runAllTimersAsync();
        await Promise.all(all);
        expect(starts).toHaveLength(tasks.length);
        expect(most(starts, 100)).toBeLessThanOrEqual(cap);
      }),
      { numRuns: 200 },
    );
  });

  it("lets an urgent task overtake what waits, not what has a slot", async () => {
    const limiter = new WindowLimiter({ cap: 1, windowMs: 100 });
    const order: string[] = [];
    const send = (name: string, priority?: number): Promise<number> =>
      limiter.run(() => Promise.resolve(order.push(name)), priority === undefined ? undefined : { priority });
    const all = [
      send("running"),
      send("update", 0),
      send("plain"),
      send("create", 1),
      send("finish", 2),
      send("late", -1),
    ];
    await vi.runAllTimersAsync();
    await Promise.all(all);
    expect(order).toEqual(["running", "finish", "create", "update", "plain", "late"]);
  });

  it("close frees held slots and leaves no timer", async () => {
    const limiter = new WindowLimiter({ cap: 1, windowMs: 60_000 });
    const order: number[] = [];
    const all = [1, 2, 3].map((n) => limiter.run(() => Promise.resolve(order.push(n))));
    await all[0];
    await vi.advanceTimersByTimeAsync(0);
    expect([order.length, vi.getTimerCount()]).toEqual([1, 1]);
    limiter.close();
    await Promise.all(all);
    expect(order).toEqual([1, 2, 3]);
    expect(vi.getTimerCount()).toBe(0);
    limiter.close();
  });
});
