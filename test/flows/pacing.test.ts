import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { Pacing } from "../../src/flows/pacing.ts";
import { SlidingWindow } from "../../src/sandbox/dingtalk-limits.ts";

const MINUTE = 60_000;

function make(options: { perSecond?: number; groupPerMinute?: number } = {}) {
  const clock = { now: 1_000_000 };
  const pacing = new Pacing({ perSecond: 5, groupPerMinute: 20, ...options, now: () => clock.now });
  return { clock, pacing };
}

describe("one conversation", () => {
  it("may be sent to so often in a second, a group so often in a minute, counted from the answers", () => {
    const { clock, pacing } = make();
    for (let n = 0; n < 5; n += 1) {
      expect(pacing.wait("a", true)).toBe(0);
      clock.now += 10;
      pacing.answered("a");
    }
    expect([pacing.wait("a", true), pacing.wait("b", true)]).toEqual([961, 0]);
    for (let n = 5; n < 20; n += 1) {
      clock.now += 2_000;
      expect(pacing.wait("a", true)).toBe(0);
      pacing.answered("a");
    }
    expect([pacing.wait("a", false), pacing.wait("a", true)]).toEqual([0, MINUTE - 30_040 + 1]);
    clock.now += MINUTE - 30_040;
    expect(pacing.wait("a", true)).toBe(1);
    clock.now += 1;
    expect(pacing.wait("a", true)).toBe(0);
  });

  it("is left alone a minute after a throttle, then two, up to ten, and a minute again after a success", () => {
    const { clock, pacing } = make();
    for (const minutes of [1, 2, 4, 8, 10, 10]) {
      expect(pacing.throttled("a")).toBe(minutes * MINUTE);
      expect([pacing.wait("a", false), pacing.wait("b", false)]).toEqual([minutes * MINUTE + 1, 0]);
      clock.now += minutes * MINUTE + 1;
      expect(pacing.wait("a", false)).toBe(0);
    }
    pacing.taken("a");
    expect(pacing.throttled("a")).toBe(MINUTE);
  });

  it("goes on where it was before a restart", () => {
    const { pacing } = make();
    for (const ago of [59_000, 40_000, 20_000]) for (let n = 0; n < 6; n += 1) pacing.answered("a", ago);
    pacing.answered("a", 10_000);
    expect(pacing.wait("a", true)).toBe(0);
    pacing.answered("a", 0);
    expect(pacing.wait("a", true)).toBe(1_001);
  });

  it("is forgotten when there is nothing left to remember, but not while it is paused", () => {
    const { clock, pacing } = make();
    pacing.throttled("paused");
    for (let n = 0; n < 999; n += 1) pacing.answered(`${n}`);
    clock.now += MINUTE + 1;
    pacing.answered("one more");
    expect(pacing.size).toBe(2);
    expect(pacing.wait("paused", false)).toBe(0);
    clock.now += 20 * MINUTE;
    for (let n = 0; n < 3_000; n += 1) pacing.answered(`${n}`);
    expect(pacing.size).toBeLessThanOrEqual(3_000);
  });
});

describe("the door", () => {
  it("opens after its time, once, and not for who has gone", () => {
    vi.useFakeTimers();
    try {
      const { pacing } = make();
      const wake = vi.fn<() => void>();
      const gone = vi.fn<() => void>();
      const [door, other, last] = [pacing.door(100), pacing.door(100), pacing.door(100)];
      expect([door.enter(wake), other.enter(gone), last.enter(gone)]).toEqual([false, false, false]);
      other.leave(gone);
      vi.advanceTimersByTime(99);
      expect(wake).not.toHaveBeenCalled();
      pacing.close();
      expect(vi.getTimerCount()).toBe(0);
      door.enter(wake);
      vi.advanceTimersByTime(1_000);
      expect([wake.mock.calls.length, gone.mock.calls.length, vi.getTimerCount()]).toEqual([1, 0, 0]);
    } finally {
      vi.useRealTimers();
    }
  });
});

it("no window of the receiver ever holds too many, whatever the latency there and back", () => {
  const ms = fc.nat({ max: 2_500 });
  fc.assert(
    fc.property(
      fc.array(fc.record({ there: ms, back: ms, idle: ms, ahead: fc.boolean() }), { minLength: 30, maxLength: 120 }),
      (sends) => {
        const { clock, pacing } = make({ perSecond: 3, groupPerMinute: 10 });
        const [second, minute] = [new SlidingWindow(), new SlidingWindow()];
        for (const { there, back, idle, ahead } of sends) {
          clock.now += ahead ? 0 : idle;
          clock.now += pacing.wait("a", true);
          expect(pacing.wait("a", true)).toBe(0);
          clock.now += there;
          expect([second.take(clock.now, 3, 1_000), minute.take(clock.now, 10, MINUTE)]).toEqual([true, true]);
          clock.now += back;
          pacing.answered("a");
        }
      },
    ),
    { numRuns: 300 },
  );
});
