import { SHANGHAI_OFFSET_MS } from "./day.ts";
import type { Outcome } from "./outcome.ts";

/** DingTalk's two monthly budgets: paid Open API calls, and Webhook & Stream units (dingtalk-protocol.md §5.1). */
export type Budget = "calls" | "units";

export const BUDGETS: readonly Budget[] = ["calls", "units"];

/** What is counted, by kind, and which budget pays for it. Token calls are free. */
export const QUOTA_CLASSES = {
  oto: "calls",
  group: "calls",
  recall: "calls",
  card_create: "calls",
  card_update: "calls",
  card_finish: "calls",
  media_upload: "calls",
  media_download: "calls",
  indicator: "calls",
  inbound: "units",
  webhook: "units",
} as const satisfies Record<string, Budget>;

export type QuotaClass = keyof typeof QUOTA_CLASSES;

export const isQuotaClass = (name: string): name is QuotaClass => Object.hasOwn(QUOTA_CLASSES, name);

export type Limits = Record<Budget, number>;

/** A month's budgets by DingTalk's edition (dingtalk-protocol.md §5.1). */
export const PLANS = {
  standard: { calls: 5_000, units: 3_000 },
  professional: { calls: 200_000, units: 50_000 },
} as const satisfies Record<string, Limits>;

export type PlanName = keyof typeof PLANS;

/** The plan's budgets, each replaced by a number of its own where that is above 0. */
export function limitsOf(quota: { plan: PlanName } & Limits): Limits {
  const plan = PLANS[quota.plan];
  return { calls: quota.calls || plan.calls, units: quota.units || plan.units };
}

/** What is known of one budget. `closed` is there from DingTalk's own refusal until the month ends. */
export interface BudgetState {
  used: number;
  limit: number;
  closed?: { probeDue: boolean } | undefined;
}

/** Share of the budget, by our own count; may exceed 1, because the real budget may be larger. */
export const usedShare = ({ used, limit }: BudgetState): number => used / Math.max(1, limit);

/** Below this share of the units every reply goes by webhook. */
export const WEBHOOK_FREE_SHARE = 0.25;
/** From this share on the units are kept for messages that people send: without them the robot is deaf. */
export const INBOUND_RESERVE_SHARE = 0.7;
/** The other budget must be better off by more than this before replies change over. */
const CHANGE_MARGIN = 0.02;

export interface RoadQuestion {
  calls: BudgetState;
  units: BudgetState;
  /** The roads that this conversation has: `units` is its webhook, `calls` the Open API. */
  roads: readonly Budget[];
  /** Somebody has to be @-ed, which only a webhook can do. */
  mention: boolean;
  /** What was preferred last time. */
  previous?: Budget | undefined;
}

/** The budget that a reply should burden when both roads are open and nobody is @-ed. */
export function preferredBudget({ calls, units, previous }: Omit<RoadQuestion, "roads" | "mention">): Budget {
  const unitsShare = usedShare(units);
  if (unitsShare < WEBHOOK_FREE_SHARE) return "units";
  if (unitsShare >= INBOUND_RESERVE_SHARE) return "calls";
  const lead = usedShare(calls) - unitsShare;
  if (Math.abs(lead) <= CHANGE_MARGIN && previous !== undefined) return previous;
  return lead < 0 ? "calls" : "units";
}

/**
 * The roads to try, in order (design §7). A closed one is left out unless its hourly probe is due: it then goes first,
 * because a refused call costs nothing and a reply goes on to the other road. Empty: nothing may be sent now. Our own
 * count never leaves a road out.
 */
export function chooseRoads(question: RoadQuestion): { order: Budget[]; preferred: Budget } {
  const preferred = preferredBudget(question);
  const first = question.mention ? "units" : preferred;
  const has = (budget: Budget): boolean => question.roads.includes(budget);
  const open = BUDGETS.filter((budget) => has(budget) && !question[budget].closed).toSorted(
    (a, b) => Number(b === first) - Number(a === first),
  );
  const probes = BUDGETS.filter((budget) => has(budget) && question[budget].closed?.probeDue);
  // A probe of the Open API that succeeds would lose the @.
  const probe = probes.filter((budget) => budget === "units" || !question.mention || !open.includes("units"));
  return { order: [...probe, ...open], preferred };
}

/**
 * Whether an attempt used up some of its budget. Refusals by throttling or for want of quota, and what never left, do not count
 * (dingtalk-protocol.md §5.1). A webhook unit counts when a message appeared, an Open API call when DingTalk worked on it;
 * both also when no answer came. Where DingTalk says nothing we take the lower number.
 */
export function spends(name: QuotaClass, outcome: Outcome): boolean {
  if (outcome.kind === "delivered" || outcome.kind === "uncertain") return true;
  if (QUOTA_CLASSES[name] === "units" || outcome.kind === "held") return false;
  if (outcome.kind === "rejected") return true;
  // The robot's own flow control answers after the call was taken; `internal` never left this process.
  return outcome.code === "recipient_throttled" || (outcome.class === "entry" && outcome.code !== "internal");
}

/** A natural month of DingTalk's: it ends at 00:00 Asia/Shanghai. Epoch milliseconds; the end is the next one's start. */
export interface QuotaMonth {
  /** `2026-11` */
  name: string;
  start: number;
  end: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function monthAt(now: number): QuotaMonth {
  const there = new Date(now + SHANGHAI_OFFSET_MS);
  const year = there.getUTCFullYear();
  const month = there.getUTCMonth();
  return {
    name: `${year}-${String(month + 1).padStart(2, "0")}`,
    start: Date.UTC(year, month) - SHANGHAI_OFFSET_MS,
    end: Date.UTC(year, month + 1) - SHANGHAI_OFFSET_MS,
  };
}

/**
 * Use at the end of the month if it goes on like this; undefined before three days or a tenth of the budget. `since` is when
 * counting began, so that a bridge set up on the 25th does not spread five days over a month.
 */
export function projectedUse(options: {
  used: number;
  limit: number;
  month: QuotaMonth;
  since: number | undefined;
  now: number;
}): number | undefined {
  const { used, limit, month, since = month.start, now } = options;
  const watched = now - Math.max(month.start, since);
  if (watched < 3 * DAY_MS && used < limit / 10) return undefined;
  // Less than a day says nothing about the nights.
  return Math.round(used + (used / Math.max(DAY_MS, watched)) * Math.max(0, month.end - now));
}

/**
 * What live cards may still cost: 0 everything, 1 rarer updates, 2 no card but one Markdown message, 3 no thinking indicator
 * either. Replies themselves are never given up.
 */
export type Ladder = 0 | 1 | 2 | 3;

/** Projected use as a share of the budget, above which each rung begins. */
const RUNGS = [1, 1.25, 1.5] as const;
const RUNG_MARGIN = 0.1;
/** The ladder is never entered before this share of the calls is used. */
const LADDER_FROM_SHARE = 0.25;

/** Up as soon as calls run ahead of the calendar, down only with a margin. */
export function ladderOf(calls: BudgetState & { projected: number | undefined }, previous: Ladder): Ladder {
  if (calls.closed) return 3;
  if (usedShare(calls) < LADDER_FROM_SHARE) return 0;
  const pace = (calls.projected ?? 0) / Math.max(1, calls.limit);
  const above = (margin: number): number => RUNGS.filter((rung) => pace > rung - margin).length;
  return Math.max(above(0), Math.min(previous, above(RUNG_MARGIN))) as Ladder;
}

/** Percent of a budget at which a warning is due, once a month each. */
export const WARNING_LEVELS = [50, 80, 95] as const;

/** The highest warning level that is reached, 0 for none. */
export function warningLevel(state: BudgetState): number {
  return WARNING_LEVELS.findLast((level) => usedShare(state) * 100 >= level) ?? 0;
}
