import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALERT_KINDS, type AlertKind, alertText } from "../../src/domain/alerts.ts";
import { ALERT_HOUR_MS, AlertDecision, type AlertFacts } from "../../src/flows/alert-decision.ts";

const ALL = Object.fromEntries(ALERT_KINDS.map((kind) => [kind, true])) as Record<AlertKind, boolean>;
const MINUTE = 60_000;
const NOTHING: AlertFacts = { refused: [], crowded: [], gateway: undefined, dead: [], quota: [] };
const AWAY = { minutes: 5, detail: "it does not answer" };
const dead = (id: string) => ({ id, code: "too_old", account: "main" });
const quota = (step: number) =>
  ({ subject: `m:main:calls:${step}`, accounts: ["main"], budget: "calls", percent: step }) as const;

function make(enabled: Partial<Record<AlertKind, boolean>> = {}, saidAt?: ReadonlyMap<AlertKind, number>) {
  const decision = new AlertDecision({ ...ALL, ...enabled }, saidAt);
  return {
    decision,
    next: (facts: Partial<AlertFacts>, minutes: number) =>
      decision.next({ ...NOTHING, ...facts }, minutes * MINUTE).map(({ news }) => news),
  };
}

describe("an incident", () => {
  it("is told once while it lasts, and again when it comes back, but not within the hour", () => {
    const { next } = make();
    expect(next({ gateway: AWAY }, 0)).toEqual([{ kind: "gatewayAway", ...AWAY }]);
    expect(next({ gateway: AWAY }, 90)).toEqual([]);
    expect(next({}, 91)).toEqual([]);
    expect(next({ gateway: AWAY }, 92)).toHaveLength(1);
    expect(next({}, 93)).toEqual([]);
    expect(next({ gateway: AWAY }, 94)).toEqual([]);
    // Still so when the hour is over.
    expect(next({ gateway: AWAY }, 151)).toEqual([]);
    expect(next({ gateway: AWAY }, 152)).toHaveLength(1);
  });

  it("of a second account within the hour is told after it, with the first one if that lasts", () => {
    const { next } = make();
    expect(next({ refused: ["main"] }, 0)).toMatchObject([{ accounts: ["main"] }]);
    expect(next({ refused: ["main", "support"] }, 10)).toEqual([]);
    expect(next({ refused: ["main", "support"] }, 60)).toMatchObject([{ accounts: ["main", "support"] }]);
    expect(next({ refused: ["main", "support"] }, 200)).toEqual([]);
  });

  it("of another kind does not wait", () => {
    const { next } = make();
    expect(next({ refused: ["main"] }, 0)).toHaveLength(1);
    expect(next({ refused: ["main"], crowded: ["main"], gateway: AWAY }, 1).map(({ kind }) => kind)).toEqual([
      "gatewayAway",
      "secondConsumer",
    ]);
  });

  it("whose kind is switched off is not told", () => {
    const { next } = make({ gatewayAway: false, deadLetter: false });
    expect(next({ gateway: AWAY, dead: [dead("a")] }, 0)).toEqual([]);
  });

  it("is not told again within the hour after a restart", () => {
    const { next } = make({}, new Map([["gatewayAway", 30 * MINUTE]]));
    expect(next({ gateway: AWAY }, 60)).toEqual([]);
    expect(next({ gateway: AWAY }, 90)).toHaveLength(1);
  });

  it("is not silenced by a clock that was set back", () => {
    const { next } = make({}, new Map([["gatewayAway", 10_000 * MINUTE]]));
    expect(next({ gateway: AWAY }, 60)).toHaveLength(1);
  });
});

describe("dead letters", () => {
  it("are counted up until the hour is over", () => {
    const { next } = make();
    expect(next({ dead: [dead("b"), dead("a")] }, 0)).toEqual([
      { kind: "deadLetter", count: 2, code: "too_old", id: "b" },
    ]);
    expect(next({ dead: [dead("c")] }, 10)).toEqual([]);
    expect(next({ dead: [dead("e"), dead("d")] }, 20)).toEqual([]);
    expect(next({}, 60)).toEqual([{ kind: "deadLetter", count: 3, code: "too_old", id: "e" }]);
    expect(next({}, 200)).toEqual([]);
  });
});

describe("the quota", () => {
  it("is told at each step, once; what was reached before the start is known", () => {
    const { next, decision } = make();
    decision.known({ quota: [quota(80)] });
    expect(next({ quota: [quota(80)] }, 0)).toEqual([]);
    expect(next({ quota: [quota(95)] }, 1)).toMatchObject([{ kind: "quota", budgets: [{ percent: 95 }] }]);
    expect(next({ quota: [quota(95)] }, 500)).toEqual([]);
  });
});

it("of each kind there is never more than one in an hour, and every incident that lasts is told", () => {
  const accounts = fc.subarray(["main", "support", "sales"]);
  const look = fc.record({ refused: accounts, away: fc.boolean(), dead: fc.nat(2), wait: fc.nat(40) });
  fc.assert(
    fc.property(fc.array(look, { maxLength: 60 }), (looks) => {
      const { next } = make();
      const saidAt = new Map<AlertKind, number>();
      let [minute, died, toldDead] = [0, 0, 0];
      const step = (facts: Partial<AlertFacts>): string[] => {
        const news = next(facts, minute);
        for (const one of news) {
          expect((minute - (saidAt.get(one.kind) ?? -Infinity)) * MINUTE).toBeGreaterThanOrEqual(ALERT_HOUR_MS);
          saidAt.set(one.kind, minute);
          if (one.kind === "deadLetter") toldDead += one.count;
        }
        return news.map(({ kind }) => kind);
      };
      for (const { refused, away, dead: n, wait } of looks) {
        minute += wait;
        died += n;
        step({ refused, gateway: away ? AWAY : undefined, dead: Array.from({ length: n }, () => dead("x")) });
      }
      minute += 60;
      const isNew = step({ refused: ["new"] });
      expect(isNew).toContain("credentials");
      expect(toldDead).toBe(died);
    }),
  );
});

it("every line names the bridge and what to do, in both languages", () => {
  const lines = [
    { kind: "credentials", accounts: ["main", "support"] },
    { kind: "gatewayAway", ...AWAY },
    { kind: "deadLetter", count: 2, code: "too_old", id: "out_1" },
    { kind: "quota", budgets: [{ accounts: ["main"], budget: "units", percent: 81 }] },
    { kind: "secondConsumer", accounts: ["main"] },
  ] as const;
  for (const news of lines)
    for (const language of ["zh-CN", "en"] as const)
      expect(alertText(news, language)).toMatch(/^\[dingtalk-bridge\] .*(dingtalk-bridge|stop one|停掉)/i);
});
