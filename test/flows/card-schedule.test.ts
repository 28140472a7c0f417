import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SchedulePlan, nextUpdate, updatesBy } from "../../src/flows/card-schedule.ts";

const plan = (fields: Partial<SchedulePlan> = {}): SchedulePlan => ({
  most: 6,
  intervalMs: 1_000,
  maxIntervalMs: 8_000,
  rarer: false,
  ...fields,
});

/** When the updates of a card begin that always has news, each taking `tookMs`. */
function moments(of: SchedulePlan, { count = 20, tookMs = 0 } = {}): number[] {
  const all: number[] = [];
  for (let state = { sent: 0, lastMs: 0 }; all.length < count;) {
    const at = nextUpdate(of, state);
    if (at === undefined) break;
    all.push(at);
    state = { sent: state.sent + 1, lastMs: at + tookMs };
  }
  return all;
}

describe("the updates of a card", () => {
  it("are six on the standard plan, often at first", () => {
    expect(moments(plan())).toEqual([1_000, 2_500, 5_000, 12_000, 30_000, 90_000]);
  });

  it("are half as many, spread alike, when calls run ahead", () => {
    expect(moments(plan({ rarer: true }))).toEqual([1_000, 5_000, 30_000]);
  });

  it("grow apart where there is no limit, and twice as far when calls run ahead", () => {
    const gaps = (of: SchedulePlan) => moments(of, { count: 9 }).map((at, index, all) => at - (all[index - 1] ?? 0));
    const usual = [1_000, 1_500, 2_250, 3_375, 5_062.5, 7_593.75, 8_000, 8_000, 8_000];
    expect(gaps(plan({ most: undefined }))).toEqual(usual);
    expect(gaps(plan({ most: undefined, rarer: true }))).toEqual(usual.map((gap) => gap * 2));
  });

  it("keep their distance and their number, whatever is set and however long each takes", () => {
    const any = fc.record({
      most: fc.integer({ min: 0, max: 60 }),
      intervalMs: fc.integer({ min: 200, max: 60_000 }),
      maxIntervalMs: fc.integer({ min: 200, max: 600_000 }),
      rarer: fc.boolean(),
    });
    fc.assert(
      fc.property(any, fc.integer({ min: 0, max: 20_000 }), (of, tookMs) => {
        const all = moments(of, { count: 100, tookMs });
        expect(all).toHaveLength(of.rarer ? Math.floor(of.most / 2) : of.most);
        for (const [index, at] of all.entries()) {
          const before = all[index - 1];
          expect(at).toBeGreaterThanOrEqual(before === undefined ? 1_000 : before + tookMs + of.intervalMs);
        }
      }),
    );
  });

  it("that an earlier life may have made are not made again", () => {
    expect(updatesBy(plan(), 0)).toEqual({ sent: 0, lastMs: 0 });
    expect(updatesBy(plan(), 6_000)).toEqual({ sent: 3, lastMs: 6_000 });
    expect(nextUpdate(plan(), updatesBy(plan(), 6_000))).toBe(12_000);
    expect(nextUpdate(plan(), updatesBy(plan(), 3_600_000))).toBeUndefined();
    expect(nextUpdate(plan({ most: undefined }), updatesBy(plan({ most: undefined }), 86_400_000))).toBe(86_408_000);
  });
});
