import {
  BUDGETS,
  type Budget,
  type BudgetState,
  type Ladder,
  type Limits,
  QUOTA_CLASSES,
  type QuotaMonth,
  isQuotaClass,
  ladderOf,
  projectedUse,
} from "../domain/quota.ts";
import type { BudgetReport, OrganisationReport } from "../domain/quota-report.ts";
import type { Closure, QuotaRows, Usage } from "../queue/quota-store.ts";

/** An account and the robot that its use is counted under. */
export interface RobotOf {
  name: string;
  robotCode: string;
}

/** Time between two tries of a budget that DingTalk refuses. */
export const PROBE_EVERY_MS = 60 * 60_000;

/**
 * One month's use in memory. Robots whose organisation is the same are one; a robot whose organisation is not known yet stands for
 * itself.
 */
export class QuotaBook {
  readonly month: QuotaMonth;
  readonly #limits: Limits;
  /** By robot, then class. */
  readonly #used = new Map<string, Map<string, number>>();
  readonly #organisations: Map<string, string>;
  readonly #firstAt: Map<string, number>;
  #closures: Closure[];
  /** By organisation, when a reply was last let through to a closed budget. */
  readonly #probedAt = new Map<string, number>();
  readonly #ladders = new Map<string, Ladder>();

  constructor(rows: QuotaRows, month: QuotaMonth, limits: Limits) {
    this.month = month;
    this.#limits = limits;
    this.#organisations = new Map(rows.organisations.map(({ robot, organisation }) => [robot, organisation]));
    this.#firstAt = new Map(rows.firstAt.map(({ robot, at }) => [robot, at]));
    // A refusal holds for its month only.
    this.#closures = rows.closures.filter(({ since }) => since >= month.start && since < month.end);
    for (const { robot, class: name, n } of rows.usage) this.#bump(robot, name, n);
  }

  /** Organisation of a robot: its corpId, else a key of its own. */
  organisation(robot: string): string {
    return this.#organisations.get(robot) ?? `robot:${robot}`;
  }

  corpId(robot: string): string | undefined {
    return this.#organisations.get(robot);
  }

  /** Every robot known of an organisation, other accounts' and former ones included. */
  robots(organisation: string): string[] {
    const all = new Set([
      ...this.#used.keys(),
      ...this.#organisations.keys(),
      ...this.#closures.map((one) => one.robot),
    ]);
    return [...all].filter((robot) => this.organisation(robot) === organisation);
  }

  add({ robot, class: name, at }: Usage): void {
    this.#bump(robot, name, 1);
    if (!this.#firstAt.has(robot)) this.#firstAt.set(robot, at);
  }

  learn(robot: string, corpId: string): void {
    this.#organisations.set(robot, corpId);
  }

  close(closure: Closure): void {
    this.#closures = [
      ...this.#closures.filter(({ robot, budget }) => robot !== closure.robot || budget !== closure.budget),
      closure,
    ];
  }

  reopen(organisation: string, budget: Budget): void {
    this.#closures = this.#closures.filter(
      (one) => one.budget !== budget || this.organisation(one.robot) !== organisation,
    );
  }

  /** The latest refusal with the time of the first one. */
  closure(organisation: string, budget: Budget): Closure | undefined {
    const all = this.#closures.filter((one) => one.budget === budget && this.organisation(one.robot) === organisation);
    const latest = all.toSorted((a, b) => b.refusedAt - a.refusedAt)[0];
    return latest && { ...latest, since: Math.min(...all.map(({ since }) => since)) };
  }

  /** When the next reply may try the closed budget. */
  probeAfter(organisation: string, { budget, refusedAt }: Closure): number {
    return Math.max(refusedAt, this.#probedAt.get(`${organisation}\n${budget}`) ?? 0) + PROBE_EVERY_MS;
  }

  probed(organisation: string, budget: Budget, at: number): void {
    this.#probedAt.set(`${organisation}\n${budget}`, at);
  }

  byClass(organisation: string, budget: Budget): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const robot of this.robots(organisation)) {
      for (const [name, n] of this.#used.get(robot) ?? []) {
        if (isQuotaClass(name) && QUOTA_CLASSES[name] === budget) sums[name] = (sums[name] ?? 0) + n;
      }
    }
    return sums;
  }

  state(organisation: string, budget: Budget, now: number): BudgetState {
    const used = Object.values(this.byClass(organisation, budget)).reduce((sum, n) => sum + n, 0);
    const closure = this.closure(organisation, budget);
    const closed = closure && { probeDue: now >= this.probeAfter(organisation, closure) };
    return { used, limit: this.#limits[budget], closed };
  }

  projected(organisation: string, budget: Budget, now: number): number | undefined {
    const { used, limit } = this.state(organisation, budget, now);
    const times = this.robots(organisation).flatMap((robot) => this.#firstAt.get(robot) ?? []);
    const since = times.length === 0 ? undefined : Math.min(...times);
    return projectedUse({ used, limit, month: this.month, since, now });
  }

  /** Remembers its last answer, so that it does not flap. */
  ladder(organisation: string, now: number): Ladder {
    const projected = this.projected(organisation, "calls", now);
    const ladder = ladderOf(
      { ...this.state(organisation, "calls", now), projected },
      this.#ladders.get(organisation) ?? 0,
    );
    this.#ladders.set(organisation, ladder);
    return ladder;
  }

  /** Organisations of the given accounts, with their names in it. */
  report(accounts: readonly RobotOf[], now: number): OrganisationReport[] {
    const byOrganisation = Map.groupBy(accounts, ({ robotCode }) => this.organisation(robotCode));
    return [...byOrganisation].map(([organisation, members]) => {
      const [calls, units] = BUDGETS.map((budget) => this.#budgetReport(organisation, budget, now)) as [
        BudgetReport,
        BudgetReport,
      ];
      return {
        organisation: organisation.startsWith("robot:") ? null : organisation,
        accounts: members.map(({ name }) => name),
        ladder: this.ladder(organisation, now),
        calls,
        units,
      };
    });
  }

  #budgetReport(organisation: string, budget: Budget, now: number): BudgetReport {
    const { used, limit } = this.state(organisation, budget, now);
    const closure = this.closure(organisation, budget);
    return {
      used,
      limit,
      percent: Math.round((used / limit) * 1_000) / 10,
      projected: this.projected(organisation, budget, now) ?? null,
      closed: closure
        ? {
            since: new Date(closure.since).toISOString(),
            detail: closure.detail,
            probeAfter: new Date(this.probeAfter(organisation, closure)).toISOString(),
          }
        : null,
      byClass: this.byClass(organisation, budget),
    };
  }

  #bump(robot: string, name: string, by: number): void {
    const classes = this.#used.get(robot) ?? new Map<string, number>();
    this.#used.set(robot, classes.set(name, (classes.get(name) ?? 0) + by));
  }
}
