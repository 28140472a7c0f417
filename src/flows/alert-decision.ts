import { ALERT_KINDS, type AlertKind, type AlertNews } from "../domain/alerts.ts";

export const ALERT_HOUR_MS = 3_600_000;

/** What one look found. */
export interface AlertFacts {
  /** Accounts whose credentials DingTalk refuses. */
  refused: readonly string[];
  /** Accounts whose connections are closed as soon as they are open. */
  crowded: readonly string[];
  /** The gateway takes nothing, for so long that it is worth a line. */
  gateway: { minutes: number; detail: string } | undefined;
  /** Dead letters since the last look, the latest first. */
  dead: readonly { code: string; id: string; account: string }[];
  /** Budgets at 80 % or more. `subject` names accounts, budget, month and step. */
  quota: readonly { subject: string; accounts: readonly string[]; budget: "calls" | "units"; percent: number }[];
}

export interface Alert {
  news: AlertNews;
  /** Accounts that it is about; empty: all. */
  concerned: readonly string[];
}

/**
 * What is worth telling an operator now: each incident once, and of each kind at most one line an hour. What was found too early is
 * told when the hour is over, unless it has mended itself.
 */
export class AlertDecision {
  readonly #enabled: Readonly<Record<AlertKind, boolean>>;
  /** Incidents that were told and are not over. */
  readonly #told = new Map<AlertKind, Set<string>>(ALERT_KINDS.map((kind) => [kind, new Set()]));
  readonly #saidAt = new Map<AlertKind, number>();
  #dead: AlertFacts["dead"] = [];
  #deadCount = 0;

  /** `saidAt`: epoch milliseconds of lines of an earlier life. */
  constructor(enabled: Readonly<Record<AlertKind, boolean>>, saidAt: ReadonlyMap<AlertKind, number> = new Map()) {
    this.#enabled = enabled;
    for (const [kind, at] of saidAt) this.#saidAt.set(kind, at);
  }

  /** What was there at the start was told in an earlier life: of the quota, which no restart changes. */
  known({ quota }: Pick<AlertFacts, "quota">): void {
    for (const { subject } of quota) this.#told.get("quota")?.add(subject);
  }

  /** `now`: epoch milliseconds. What is returned counts as said. */
  next(facts: AlertFacts, now: number): Alert[] {
    this.#deadCount += facts.dead.length;
    this.#dead = [...facts.dead, ...this.#dead].slice(0, 1);
    const { refused, crowded, gateway, quota } = facts;
    const alerts = [
      this.#state("credentials", refused, now, () => ({
        news: { kind: "credentials", accounts: refused },
        concerned: refused,
      })),
      this.#state("gatewayAway", gateway ? [""] : [], now, () =>
        gateway ? { news: { kind: "gatewayAway", ...gateway }, concerned: [] } : undefined,
      ),
      this.#deadLetters(now),
      this.#state(
        "quota",
        quota.map(({ subject }) => subject),
        now,
        () => ({
          news: {
            kind: "quota",
            budgets: quota.map(({ accounts, budget, percent }) => ({ accounts, budget, percent })),
          },
          concerned: quota.flatMap(({ accounts }) => accounts),
        }),
      ),
      this.#state("secondConsumer", crowded, now, () => ({
        news: { kind: "secondConsumer", accounts: crowded },
        concerned: crowded,
      })),
    ];
    return alerts.filter((alert) => alert !== undefined);
  }

  #state(kind: AlertKind, subjects: readonly string[], now: number, words: () => Alert | undefined): Alert | undefined {
    const told = this.#told.get(kind) ?? new Set();
    for (const subject of told) if (!subjects.includes(subject)) told.delete(subject);
    if (subjects.every((subject) => told.has(subject)) || !this.#may(kind, now)) return undefined;
    for (const subject of subjects) told.add(subject);
    this.#saidAt.set(kind, now);
    return words();
  }

  #deadLetters(now: number): Alert | undefined {
    const [latest] = this.#dead;
    if (!latest || !this.#may("deadLetter", now)) return undefined;
    const { code, id, account } = latest;
    const news = { kind: "deadLetter", count: this.#deadCount, code, id } as const;
    [this.#dead, this.#deadCount] = [[], 0];
    this.#saidAt.set("deadLetter", now);
    return { news, concerned: [account] };
  }

  #may(kind: AlertKind, now: number): boolean {
    const last = this.#saidAt.get(kind);
    // A clock that was set back must not silence it for longer.
    return this.#enabled[kind] && (last === undefined || Math.abs(now - last) >= ALERT_HOUR_MS);
  }
}
