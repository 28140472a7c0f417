import { coerceError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import {
  BUDGETS,
  type Budget,
  INBOUND_RESERVE_SHARE,
  type Ladder,
  type Limits,
  type PlanName,
  QUOTA_CLASSES,
  type QuotaClass,
  chooseRoads,
  limitsOf,
  monthAt,
  spends,
  usedShare,
  warningLevel,
} from "../domain/quota.ts";
import { LOWER_BOUND, type QuotaReport } from "../domain/quota-report.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QuotaStore, Usage } from "../queue/quota-store.ts";
import { QuotaBook, type RobotOf } from "./quota-book.ts";

export interface QuotaOptions {
  quota: { plan: PlanName } & Limits;
  store: QuotaStore;
  accounts: () => readonly RobotOf[];
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

const NAMES = { calls: "Open API calls", units: "Webhook & Stream units" } as const;
const EFFECTS = {
  calls: "replies go by webhook where there is one",
  units: "people's messages arrive without their text and replies go by the Open API",
} as const;

/**
 * Counts what each organisation spends of DingTalk's two monthly budgets and says which road a reply should take (design §7,
 * dingtalk-protocol.md §5.1). Only DingTalk's own refusal closes a budget, never our count, which is a lower bound.
 */
export class QuotaGovernor implements Service {
  readonly name = "quota";
  readonly #options: QuotaOptions;
  readonly #limits: Limits;
  #book: QuotaBook;
  /** By organisation and budget. */
  #announced = new Map<string, number>();
  readonly #preferred = new Map<string, Budget>();
  /** Counted, but not stored because the last commit failed. */
  #owed: Usage[] = [];

  constructor(options: QuotaOptions) {
    this.#options = options;
    this.#limits = limitsOf(options.quota);
    this.#book = this.#open(options.clock.now());
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * What came of one paid request or webhook message: counted if it used something up, and what it tells about the budget is
   * noted. To be called in the turn of the answer, so that the count shares a commit with the settlement.
   */
  observe(account: string, name: QuotaClass, outcome: Outcome): void {
    const budget = QUOTA_CLASSES[name];
    if (outcome.kind === "retry" && outcome.code === "dingtalk_quota_exhausted") {
      this.refused(account, budget, outcome.detail ?? "");
      return;
    }
    if (spends(name, outcome)) this.#spend(this.usage(account, name));
    if (outcome.kind === "delivered") this.#served(account, budget);
  }

  /** For a store write that counts it in its own commit; tell `accepted` afterwards. */
  usage(account: string, name: QuotaClass): Usage {
    const at = this.#options.clock.now();
    return { robot: this.#robot(account), month: monthAt(at).name, class: name, at };
  }

  /** A pushed message with its body was stored together with `usage`. */
  accepted(account: string, usage: Usage): void {
    this.#note(usage);
    this.#served(account, "units");
  }

  /** `chatbotCorpId` of a push: the organisation that pays for this robot. */
  learn(account: string, corpId: string): void {
    const robot = this.#robot(account);
    const book = this.#current();
    if (book.corpId(robot) === corpId) return;
    const before = book.organisation(robot);
    book.learn(robot, corpId);
    for (const budget of BUDGETS) {
      const level = Math.max(this.#level(before, budget), this.#level(corpId, budget));
      this.#announced.set(`${corpId}\n${budget}`, level);
      this.#warn(corpId, budget);
    }
    this.#write(this.#options.store.learn(robot, corpId));
  }

  /** DingTalk said that the budget is used up: by refusing a request, or by a push without its body. */
  refused(account: string, budget: Budget, detail: string): void {
    const { clock, logger, store } = this.#options;
    const book = this.#current();
    const organisation = book.organisation(this.#robot(account));
    const now = clock.now();
    const before = book.closure(organisation, budget);
    const closure = { robot: this.#robot(account), budget, since: before?.since ?? now, refusedAt: now, detail };
    book.close(closure);
    this.#write(store.close(closure));
    if (before) return;
    const until = new Date(book.month.end).toISOString();
    logger.error(
      { account, organisation, budget, until, detail, mend: MEND },
      `DingTalk refuses: the month's ${NAMES[budget]} are used up; ${EFFECTS[budget]}`,
    );
  }

  /**
   * The roads for one reply, in order; empty when DingTalk refuses all it could take. `roads` are those that exist: `units` for
   * a fresh webhook, `calls` for the Open API.
   */
  order(account: string, question: { roads: readonly Budget[]; mention: boolean }): Budget[] {
    const book = this.#current();
    const organisation = book.organisation(this.#robot(account));
    const now = this.#options.clock.now();
    const [calls, units] = [book.state(organisation, "calls", now), book.state(organisation, "units", now)];
    const previous = this.#preferred.get(organisation);
    const { order, preferred } = chooseRoads({ ...question, calls, units, previous });
    this.#preferred.set(organisation, preferred);
    for (const budget of order) if ({ calls, units }[budget].closed) book.probed(organisation, budget, now);
    return order;
  }

  /** Whether a message that nobody waits for may be sent: never from what is kept for inbound messages, never as a probe. */
  affordable(account: string): boolean {
    const book = this.#current();
    const organisation = book.organisation(this.#robot(account));
    const now = this.#options.clock.now();
    const units = book.state(organisation, "units", now);
    return (
      !book.state(organisation, "calls", now).closed || (!units.closed && usedShare(units) < INBOUND_RESERVE_SHARE)
    );
  }

  /** How much live cards and the indicator may still cost. */
  ladder(account: string): Ladder {
    const book = this.#current();
    return book.ladder(book.organisation(this.#robot(account)), this.#options.clock.now());
  }

  /** The `quota` section of the status, for the named account or for all. */
  report(account?: string): QuotaReport {
    const book = this.#current();
    const accounts = this.#options.accounts().filter(({ name }) => account === undefined || name === account);
    return reportOf(book, accounts, this.#options.quota.plan, this.#options.clock.now());
  }

  /** Brings the gauges up to date. */
  sample(): void {
    const { quotaUsed, quotaLimit, quotaProjected, quotaClosed, quotaLadder } = this.#options.metrics;
    // An organisation that has become known would leave its old label behind.
    for (const gauge of [quotaUsed, quotaLimit, quotaProjected, quotaClosed, quotaLadder]) gauge.reset();
    for (const report of this.report().organisations) {
      const organisation = report.organisation ?? `account:${report.accounts.join(",")}`;
      quotaLadder.set({ organisation }, report.ladder);
      for (const budget of BUDGETS) {
        const { used, limit, projected, closed } = report[budget];
        quotaUsed.set({ organisation, budget }, used);
        quotaLimit.set({ organisation, budget }, limit);
        quotaClosed.set({ organisation, budget }, closed ? 1 : 0);
        if (projected !== null) quotaProjected.set({ organisation, budget }, projected);
      }
    }
  }

  health(): Health {
    const { organisations } = this.report();
    const closed = organisations.flatMap((report) =>
      BUDGETS.filter((budget) => report[budget].closed).map(
        (budget) => `${report.accounts.join(", ")}: ${NAMES[budget]} since ${report[budget].closed?.since}`,
      ),
    );
    if (closed.length === 0) return { status: "ok" };
    const until = new Date(this.#book.month.end).toISOString();
    const detail = `DingTalk refuses for want of quota until ${until}: ${closed.join("; ")}`;
    return { status: "degraded", code: "quota_exhausted", detail, mend: MEND };
  }

  #robot(account: string): string {
    return this.#options.accounts().find(({ name }) => name === account)?.robotCode ?? account;
  }

  #current(): QuotaBook {
    const now = this.#options.clock.now();
    const { month } = this.#book;
    if (now >= month.start && now < month.end) return this.#book;
    const totals = reportOf(this.#book, this.#options.accounts(), this.#options.quota.plan, now).organisations;
    this.#options.logger.info({ ended: month.name, month: monthAt(now).name, totals }, "a new month's quota begins");
    this.#book = this.#open(now);
    return this.#book;
  }

  #open(now: number): QuotaBook {
    const month = monthAt(now);
    const book = new QuotaBook(this.#options.store.read(month.name), month, this.#limits);
    this.#announced = new Map();
    for (const organisation of new Set(this.#options.accounts().map(({ robotCode }) => book.organisation(robotCode)))) {
      for (const budget of BUDGETS) {
        // What was reached before a restart was announced then.
        this.#announced.set(`${organisation}\n${budget}`, warningLevel(book.state(organisation, budget, now)));
      }
    }
    return book;
  }

  #level(organisation: string, budget: Budget): number {
    return this.#announced.get(`${organisation}\n${budget}`) ?? 0;
  }

  #spend(usage: Usage): void {
    this.#note(usage);
    this.#owed.push(usage);
    const batch = this.#owed.splice(0);
    this.#write(
      this.#options.store.add(batch).catch((thrown: unknown) => {
        this.#owed.unshift(...batch);
        throw thrown;
      }),
    );
  }

  #note(usage: Usage): void {
    const book = this.#current();
    // Its commit may have ended on the other side of a month's end.
    if (usage.month !== book.month.name) return;
    book.add(usage);
    this.#warn(book.organisation(usage.robot), QUOTA_CLASSES[usage.class]);
  }

  #served(account: string, budget: Budget): void {
    const book = this.#current();
    const organisation = book.organisation(this.#robot(account));
    if (!book.closure(organisation, budget)) return;
    const robots = [...new Set([...book.robots(organisation), this.#robot(account)])];
    book.reopen(organisation, budget);
    this.#write(this.#options.store.reopen(robots, budget));
    this.#options.logger.info({ account, organisation, budget }, `DingTalk takes ${NAMES[budget]} again`);
  }

  #warn(organisation: string, budget: Budget): void {
    const { clock, logger } = this.#options;
    const now = clock.now();
    const state = this.#book.state(organisation, budget, now);
    const level = warningLevel(state);
    if (level <= this.#level(organisation, budget)) return;
    this.#announced.set(`${organisation}\n${budget}`, level);
    const { used, limit } = state;
    const projected = this.#book.projected(organisation, budget, now);
    logger.warn(
      {
        organisation,
        budget,
        reached: level,
        used,
        limit,
        projected,
        until: new Date(this.#book.month.end).toISOString(),
      },
      `${Math.floor(usedShare(state) * 100)} % of the month's ${NAMES[budget]} are used (${LOWER_BOUND})`,
    );
  }

  #write(write: Promise<void>): void {
    write.catch((thrown: unknown) => {
      this.#options.logger.error({ err: coerceError(thrown) }, "the use of the quota could not be stored");
    });
  }
}

const MEND =
  "more calls and units: open-dev.dingtalk.com → 首页 → 资源管理; they begin anew at 00:00 Asia/Shanghai on the 1st (see: dingtalk-bridge quota)";

/** A book as the status and the command show it. */
export function reportOf(book: QuotaBook, accounts: readonly RobotOf[], plan: PlanName, now: number): QuotaReport {
  return {
    plan,
    month: book.month.name,
    endsAt: new Date(book.month.end).toISOString(),
    note: LOWER_BOUND,
    organisations: book.report(accounts, now),
  };
}
