import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Budget,
  type BudgetState,
  type Ladder,
  type RoadQuestion,
  QUOTA_CLASSES,
  chooseRoads,
  ladderOf,
  limitsOf,
  monthAt,
  preferredBudget,
  projectedUse,
  spends,
  usedShare,
  warningLevel,
} from "../../src/domain/quota.ts";
import { comparedPlans, mostReplies, whatIf } from "../../src/domain/quota-report.ts";

const DAY = 86_400_000;
const at = (text: string): number => Date.parse(`${text}+08:00`);

const state: fc.Arbitrary<BudgetState> = fc.record({
  used: fc.nat(8_000),
  limit: fc.integer({ min: 1, max: 6_000 }),
  closed: fc.option(fc.record({ probeDue: fc.boolean() }), { nil: undefined }),
});
const budget = fc.constantFrom<Budget>("calls", "units");
const question: fc.Arbitrary<RoadQuestion> = fc.record({
  calls: state,
  units: state,
  roads: fc.subarray<Budget>(["units", "calls"]),
  mention: fc.boolean(),
  previous: fc.option(budget, { nil: undefined }),
});
const open = (used: number, limit = 1_000): BudgetState => ({ used, limit });

describe("the road of a reply", () => {
  it("is one that exists, each once, and no open one is ever left out", () => {
    fc.assert(
      fc.property(question, (asked) => {
        const { order } = chooseRoads(asked);
        expect(new Set(order).size).toBe(order.length);
        for (const one of order) expect(asked.roads).toContain(one);
        for (const road of asked.roads) if (!asked[road].closed) expect(order).toContain(road);
      }),
    );
  });

  it("is a closed one only as a probe", () => {
    fc.assert(
      fc.property(question, (asked) => {
        for (const road of chooseRoads(asked).order) {
          if (asked[road].closed) expect(asked[road].closed).toEqual({ probeDue: true });
        }
      }),
    );
  });

  it("probes whatever is due, but never the Open API when an open webhook can @ somebody", () => {
    fc.assert(
      fc.property(question, (asked) => {
        const due = asked.roads.filter((road) => asked[road].closed?.probeDue);
        const spared = asked.mention && asked.roads.includes("units") && !asked.units.closed;
        const { order } = chooseRoads(asked);
        for (const road of due) expect(order.includes(road)).toBe(!(spared && road === "calls"));
      }),
    );
  });

  it("is the webhook first whenever somebody is @-ed and it is open", () => {
    fc.assert(
      fc.property(question, (asked) => {
        fc.pre(asked.roads.includes("units") && !asked.units.closed);
        expect(chooseRoads({ ...asked, mention: true }).order[0]).toBe("units");
      }),
    );
  });

  it("is the webhook below 25 % of the units, never first from 70 % on, else that of the emptier budget", () => {
    fc.assert(
      fc.property(question, ({ calls, units, previous }) => {
        const preferred = preferredBudget({ calls, units, previous });
        const share = usedShare(units);
        if (share < 0.25) expect(preferred).toBe("units");
        else if (share >= 0.7) expect(preferred).toBe("calls");
        else if (Math.abs(usedShare(calls) - share) > 0.02) {
          expect(preferred).toBe(usedShare(calls) < share ? "calls" : "units");
        } else if (previous !== undefined) expect(preferred).toBe(previous);
      }),
    );
  });

  it.each<[string, BudgetState, BudgetState, Budget[]]>([
    ["a fresh month", open(0), open(0), ["units", "calls"]],
    ["just below 25 %", open(0), open(249), ["units", "calls"]],
    ["at 25 %", open(0), open(250), ["calls", "units"]],
    ["calls used more", open(400), open(300), ["units", "calls"]],
    ["the reserve of inbound", open(990), open(700), ["calls", "units"]],
    ["calls counted beyond their limit, not refused", open(1_500), open(700), ["calls", "units"]],
    ["calls refused in the reserve", { ...open(500), closed: { probeDue: false } }, open(900), ["units"]],
    ["units refused", open(0), { ...open(10), closed: { probeDue: false } }, ["calls"]],
    ["a probe", { ...open(500), closed: { probeDue: true } }, open(0), ["calls", "units"]],
    ["both refused", { ...open(1), closed: { probeDue: false } }, { ...open(1), closed: { probeDue: false } }, []],
  ])("%s", (_, calls, units, order) => {
    expect(chooseRoads({ calls, units, roads: ["units", "calls"], mention: false }).order).toEqual(order);
  });

  it("changes over seldom while both fill up side by side, and keeps them level", () => {
    let [calls, units, changes] = [0, 260, 0];
    let previous: Budget | undefined;
    for (let reply = 0; reply < 600 && units < 700; reply += 1) {
      units += 1;
      const { order, preferred } = chooseRoads({
        calls: open(calls),
        units: open(units),
        roads: ["units", "calls"],
        mention: false,
        previous,
      });
      if (previous !== undefined && preferred !== previous) changes += 1;
      previous = preferred;
      if (order[0] === "units") units += 1;
      else calls += 1;
    }
    // Every message that asks takes a unit, so the calls never catch up.
    expect(changes).toBe(0);
    const even = Array.from({ length: 400 }, (_, n) => n).reduce(
      (sum) => {
        const preferred = preferredBudget({ calls: open(sum.calls), units: open(sum.units), previous: sum.previous });
        sum.changes += sum.previous !== undefined && preferred !== sum.previous ? 1 : 0;
        sum[preferred] += 1;
        return { ...sum, previous: preferred };
      },
      { calls: 260, units: 260, changes: 0, previous: undefined as Budget | undefined },
    );
    expect(even.changes).toBeLessThan(20);
    expect(Math.abs(even.calls - even.units)).toBeLessThan(50);
  });
});

describe("the month", () => {
  it("ends at 00:00 Asia/Shanghai", () => {
    const last = at("2026-11-30T23:59:59.999");
    expect(monthAt(last)).toEqual({ name: "2026-11", start: at("2026-11-01T00:00"), end: last + 1 });
    expect(monthAt(last + 1).name).toBe("2026-12");
    expect(monthAt(at("2027-01-01T00:00")).name).toBe("2027-01");
    // Still December in UTC.
    expect(new Date(at("2027-01-01T00:00")).toISOString()).toBe("2026-12-31T16:00:00.000Z");
  });

  it("holds its time, and months lie side by side", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), (now) => {
        const { start, end, name } = monthAt(now);
        expect(start <= now && now < end).toBe(true);
        expect(monthAt(end).start).toBe(end);
        expect(monthAt(start - 1).end).toBe(start);
        expect(monthAt(end - 1).name).toBe(name);
      }),
    );
  });
});

describe("the projection", () => {
  const month = monthAt(at("2026-11-01T00:00"));
  const projected = (used: number, day: number, since?: number): number | undefined =>
    projectedUse({ used, limit: 3_000, month, since, now: month.start + day * DAY });

  it("waits for three days or a tenth of the budget", () => {
    expect(projected(299, 2.9)).toBeUndefined();
    expect(projected(299, 3)).toBe(2_990);
    expect(projected(300, 2)).toBe(4_500);
  });

  it("goes by the days that were watched, and takes no less than one for a day", () => {
    expect(projected(500, 25, month.start + 20 * DAY)).toBe(1_000);
    expect(projected(500, 25.1, month.start + 25 * DAY)).toBe(500 + 500 * 4.9);
    expect(projected(500, 30)).toBe(500);
  });

  it("is never below what is used", () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.double({ min: 0, max: 30, noNaN: true }), (used, day) => {
        expect(projected(used, day) ?? used).toBeGreaterThanOrEqual(used);
      }),
    );
  });
});

describe("the ladder", () => {
  const calls = (used: number, projected: number | undefined): BudgetState & { projected: number | undefined } => ({
    ...open(used),
    projected,
  });

  it.each<[number, number, Ladder]>([
    [249, 9_000, 0],
    [250, 1_000, 0],
    [250, 1_001, 1],
    [250, 1_251, 2],
    [250, 1_501, 3],
    [990, 1_000, 0],
  ])("%d of 1000 calls used, %d projected: %d", (used, projected, rung) => {
    expect(ladderOf(calls(used, projected), 0)).toBe(rung);
  });

  it("comes down only with a margin", () => {
    expect(ladderOf(calls(300, 1_240), 2)).toBe(2);
    expect(ladderOf(calls(300, 1_149), 2)).toBe(1);
    expect(ladderOf(calls(300, 950), 1)).toBe(1);
    expect(ladderOf(calls(300, 899), 1)).toBe(0);
  });

  it("is at its end while DingTalk refuses, and never left or entered without reason", () => {
    expect(ladderOf({ ...calls(1, undefined), closed: { probeDue: true } }, 0)).toBe(3);
    const rung = fc.constantFrom<Ladder>(0, 1, 2, 3);
    fc.assert(
      fc.property(fc.nat(2_000), fc.nat(4_000), rung, (used, projected, previous) => {
        const next = ladderOf(calls(used, projected), previous);
        if (used < 250) expect(next).toBe(0);
        // Asked again it says the same: it does not swing.
        expect(ladderOf(calls(used, projected), next)).toBe(next);
        if (projected <= 900) expect(next).toBe(0);
      }),
    );
  });
});

describe("what counts", () => {
  const retry = (code: "dingtalk_throttled" | "internal" | "dingtalk_unavailable" | "recipient_throttled") =>
    ({
      kind: "retry",
      code,
      class: code.startsWith("dingtalk_t") || code.startsWith("rec") ? "peer-away" : "entry",
    }) as const;

  it("is what DingTalk worked on, and not what it throttled or what never left", () => {
    for (const name of Object.keys(QUOTA_CLASSES) as (keyof typeof QUOTA_CLASSES)[]) {
      expect(spends(name, { kind: "delivered" })).toBe(true);
      expect(spends(name, { kind: "uncertain", code: "dingtalk_timeout" })).toBe(true);
      expect(spends(name, retry("dingtalk_throttled"))).toBe(false);
      expect(spends(name, retry("internal"))).toBe(false);
    }
    expect(spends("oto", { kind: "rejected", code: "recipient_unknown", detail: "" })).toBe(true);
    expect(spends("oto", retry("recipient_throttled"))).toBe(true);
    expect(spends("oto", retry("dingtalk_unavailable"))).toBe(true);
    expect(spends("webhook", { kind: "rejected", code: "webhook_expired", detail: "" })).toBe(false);
    expect(spends("webhook", retry("recipient_throttled"))).toBe(false);
  });

  it("warns at 50, 80 and 95 %", () => {
    const levels = [0, 499, 500, 799, 800, 949, 950, 2_000].map((used) => warningLevel(open(used)));
    expect(levels).toEqual([0, 0, 50, 50, 80, 80, 95, 95]);
  });

  it("is measured by the plan, or by numbers of one's own", () => {
    expect(limitsOf({ plan: "standard", calls: 0, units: 0 })).toEqual({ calls: 5_000, units: 3_000 });
    expect(limitsOf({ plan: "professional", calls: 0, units: 7 })).toEqual({ calls: 200_000, units: 7 });
  });
});

describe("what if", () => {
  it("counts the message that asks as well as the answer", () => {
    const limits = { calls: 5_000, units: 3_000 };
    expect(whatIf({ plan: "standard", limits, repliesPerDay: 60, days: 30 })).toEqual({
      plan: "standard",
      repliesPerDay: 60,
      webhook: { calls: 0, units: 3_600 },
      api: { calls: 1_800, units: 1_800 },
      fits: { webhook: false, api: true, mixed: true },
    });
    expect(mostReplies(limits, 30)).toBe(87);
    expect(mostReplies({ calls: 500, units: 3_000 }, 30)).toBe(58);
  });

  it("a mix carries what the bridge's own choice of roads reaches", () => {
    const reached = (limits: Record<Budget, number>): number => {
      const used = { calls: 0, units: 0 };
      const left = (one: Budget): boolean => used[one] < limits[one];
      let previous: Budget | undefined;
      for (let replies = 0; ; replies += 1) {
        if (!left("units")) return replies;
        used.units += 1;
        const about = (one: Budget): BudgetState => ({ used: used[one], limit: limits[one] });
        previous = preferredBudget({ calls: about("calls"), units: about("units"), previous });
        const road = ([previous, "calls", "units"] as const).find(left);
        if (road === undefined) return replies;
        used[road] += 1;
      }
    };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6_000 }), fc.integer({ min: 100, max: 6_000 }), (calls, units) => {
        expect(Math.abs(mostReplies({ calls, units }, 1) - reached({ calls, units }))).toBeLessThan(3);
      }),
    );
  });

  it("compares the configured budgets with the plans that differ", () => {
    expect(comparedPlans("standard", { calls: 5_000, units: 3_000 }).map(({ plan }) => plan)).toEqual([
      "standard",
      "professional",
    ]);
    expect(comparedPlans("standard", { calls: 10_000, units: 5_000 }).map(({ plan }) => plan)).toEqual([
      "configured",
      "standard",
      "professional",
    ]);
  });
});
