import { type Budget, type Ladder, type Limits, PLANS, type PlanName, WEBHOOK_FREE_SHARE } from "./quota.ts";

export interface BudgetReport {
  used: number;
  limit: number;
  percent: number;
  /** At the end of the month; null while too little is known. */
  projected: number | null;
  /** DingTalk refuses: since when, what it said, when the next reply tries again. */
  closed: { since: string; detail: string; probeAfter: string } | null;
  byClass: Record<string, number>;
}

export interface OrganisationReport {
  /** corpId; null until the first message told it. */
  organisation: string | null;
  /** Accounts of the bridge in it. */
  accounts: string[];
  ladder: Ladder;
  calls: BudgetReport;
  units: BudgetReport;
}

/** The `quota` section of `GET /v1/status`. */
export interface QuotaReport {
  plan: PlanName;
  month: string;
  /** 00:00 Asia/Shanghai. */
  endsAt: string;
  note: string;
  organisations: OrganisationReport[];
}

export const LOWER_BOUND =
  "counted by this bridge; other apps of the organisation spend too, so the real use is at least this";

/** One line of the what-if table. */
export interface WhatIf {
  plan: string;
  /** Messages that people write and the robot answers with one message. */
  repliesPerDay: number;
  /** Use of a month when every reply goes by webhook, by the Open API, or as the bridge chooses. */
  webhook: Limits;
  api: Limits;
  /** Which of the roads fit into the budgets; `mixed` is what the bridge's own choice can reach. */
  fits: { webhook: boolean; api: boolean; mixed: boolean };
}

/**
 * What a number of replies a day comes to. Each costs one unit for the message that asked, and one unit (webhook) or one call
 * (Open API) for the answer. Long answers, cards and files cost more.
 */
export function whatIf(options: { plan: string; limits: Limits; repliesPerDay: number; days: number }): WhatIf {
  const { plan, limits, repliesPerDay, days } = options;
  const replies = repliesPerDay * days;
  const webhook = { calls: 0, units: 2 * replies };
  const api = { calls: replies, units: replies };
  const fit = (use: Limits): boolean => use.calls <= limits.calls && use.units <= limits.units;
  return {
    plan,
    repliesPerDay,
    webhook,
    api,
    fits: { webhook: fit(webhook), api: fit(api), mixed: repliesPerDay <= mostReplies(limits, days) },
  };
}

/**
 * The most replies a day that both budgets together carry when the bridge chooses the road: at first every reply takes a unit, as
 * the message that asked did, so that half of that share of the units is not there for messages.
 */
export function mostReplies({ calls, units }: Limits, days: number): number {
  return Math.floor(Math.min(units * (1 - WEBHOOK_FREE_SHARE / 2), (calls + units) / 2) / days);
}

/** The plans to compare: the configured budgets first, then DingTalk's where they differ. */
export function comparedPlans(plan: PlanName, limits: Limits): { plan: string; limits: Limits }[] {
  const same = (a: Limits, b: Limits): boolean => (["calls", "units"] as Budget[]).every((one) => a[one] === b[one]);
  const configured = { plan: same(limits, PLANS[plan]) ? plan : "configured", limits };
  const others = (Object.keys(PLANS) as PlanName[]).filter((name) => !same(PLANS[name], limits));
  return [configured, ...others.map((name) => ({ plan: name, limits: PLANS[name] }))];
}
