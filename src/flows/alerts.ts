import { ALERT_KINDS, type AlertKind, type AlertNews, alertText } from "../domain/alerts.ts";
import { coerceError } from "../domain/errors.ts";
import type { Language } from "../domain/notices.ts";
import type { QuotaReport } from "../domain/quota-report.ts";
import { BUDGETS } from "../domain/quota.ts";
import type { StreamSession } from "../dingtalk/stream-session.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueStore } from "../queue/store.ts";
import { ALERT_HOUR_MS, type Alert, AlertDecision, type AlertFacts } from "./alert-decision.ts";
import type { Messages } from "./messages.ts";

const EVERY_MS = 5_000;
const KEY = "alert:";
/** Of a budget, in per cent: as the log announces them. */
const QUOTA_STEPS = [95, 80];
const MINUTE = 60_000;

interface AlertAccount {
  name: string;
  session: Pick<StreamSession, "health" | "isCrowded">;
}

export interface AlertsOptions {
  /** `user:<staffId>` or `conversation:<id>`; empty: nobody is told. */
  to: readonly string[];
  enabled: Readonly<Record<AlertKind, boolean>>;
  language: Language;
  /** The gateway has to have been away for so long. Milliseconds. */
  gatewayAwayAfterMs: number;
  accounts: () => readonly AlertAccount[];
  /** Why an account has no access token. */
  tokenFailure: (account: string) => string | undefined;
  gateway: () => { shut: boolean; health: Health };
  quota: () => QuotaReport;
  affordable: (account: string) => boolean;
  store: Pick<QueueStore, "deadSince" | "repeated">;
  messages: Pick<Messages, "accept">;
  clock: Clock;
  logger: Logger;
  everyMs?: number | undefined;
}

/**
 * Tells operators by DingTalk what they have to know: ordinary messages of the outbox, so that they are stored, limited and counted
 * like all others. An alert that cannot be delivered is a dead letter that no alert speaks of.
 */
export class Alerts implements Service {
  readonly name = "alerts";
  readonly #options: AlertsOptions;
  readonly #pending = new Set<Promise<void>>();
  #decision: AlertDecision | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Monotonic. */
  #gatewayAwaySince: number | undefined;
  /** Epoch milliseconds up to which dead letters were looked at. */
  #deadUpTo = 0;

  constructor(options: AlertsOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    const { to, enabled, clock, everyMs = EVERY_MS } = this.#options;
    if (to.length === 0 || this.#timer) return Promise.resolve();
    this.#deadUpTo = clock.now();
    this.#decision = new AlertDecision(enabled, this.#saidBefore());
    this.#decision.known({ quota: this.#quota() });
    this.#timer = setInterval(() => this.#look(), everyMs);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await Promise.all(this.#pending);
  }

  health(): Health {
    return { status: "ok" };
  }

  #look(): void {
    const { logger, clock } = this.#options;
    try {
      const alerts = this.#decision?.next(this.#facts(), clock.now()) ?? [];
      for (const alert of alerts) this.#say(alert);
    } catch (thrown) {
      logger.warn({ err: coerceError(thrown) }, "it is not known whether an operator should be told something");
    }
  }

  #facts(): AlertFacts {
    const { accounts, store, clock } = this.#options;
    const since = this.#deadUpTo;
    const dead = store.deadSince(since).filter(({ key, account }) => !key.startsWith(`${account}\n${KEY}`));
    this.#deadUpTo = clock.now();
    return {
      refused: this.#refused(),
      crowded: accounts()
        .filter(({ session }) => session.isCrowded)
        .map(({ name }) => name),
      gateway: this.#gateway(),
      dead: dead.map(({ id, account, error }) => ({ id, account, code: error?.code ?? "internal" })),
      quota: this.#quota(),
    };
  }

  #refused(): string[] {
    const { accounts, tokenFailure } = this.#options;
    const isRefused = ({ name, session }: AlertAccount): boolean =>
      session.health().code === "stream_bad_credentials" || tokenFailure(name) === "dingtalk_bad_credentials";
    return accounts()
      .filter(isRefused)
      .map(({ name }) => name);
  }

  #gateway(): AlertFacts["gateway"] {
    const { gateway, clock, gatewayAwayAfterMs } = this.#options;
    const { shut, health } = gateway();
    if (!shut && health.status !== "degraded" && health.status !== "down") {
      this.#gatewayAwaySince = undefined;
      return undefined;
    }
    this.#gatewayAwaySince ??= clock.monotonic();
    const awayMs = clock.monotonic() - this.#gatewayAwaySince;
    if (awayMs < gatewayAwayAfterMs) return undefined;
    return { minutes: Math.round(awayMs / MINUTE), detail: health.detail ?? "it does not answer" };
  }

  #quota(): AlertFacts["quota"] {
    const { month, organisations } = this.#options.quota();
    return organisations.flatMap((report) =>
      BUDGETS.flatMap((budget) => {
        const { percent } = report[budget];
        const step = QUOTA_STEPS.find((one) => percent >= one);
        const { accounts } = report;
        const subject = `${month}:${accounts.join(",")}:${budget}:${step}`;
        return step === undefined ? [] : [{ subject, accounts, budget, percent: Math.floor(percent) }];
      }),
    );
  }

  /** Through an account that it is about, else through another one, never through one whose credentials are refused. */
  #sender({ concerned }: Alert): string | undefined {
    const { accounts, affordable } = this.#options;
    const refused = this.#refused();
    const present = accounts().map(({ name }) => name);
    const names = [...concerned.filter((name) => present.includes(name)), ...present];
    return names.find((name) => !refused.includes(name) && affordable(name));
  }

  #say(alert: Alert): void {
    const { to, logger } = this.#options;
    const { kind } = alert.news;
    const account = this.#sender(alert);
    if (account === undefined) {
      logger.warn({ kind, to }, "operators cannot be told: no account can send");
      return;
    }
    logger.info({ kind, to, account }, "operators are told");
    for (const one of to) this.#send(alert.news, account, one);
  }

  #send(news: AlertNews, account: string, to: string): void {
    const { messages, language, logger, clock } = this.#options;
    const content = { type: "text" as const, text: alertText(news, language) };
    const idempotencyKey = keyOf(news.kind, hourOf(clock.now()), to);
    const pending: Promise<void> = messages
      .accept({ account, to, content }, { scope: { account: undefined }, idempotencyKey })
      .then(
        () => undefined,
        (thrown: unknown) => {
          logger.warn({ err: coerceError(thrown), kind: news.kind, to, account }, "an alert could not be stored");
        },
      )
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  /** When each kind was told last, if that is less than an hour ago. */
  #saidBefore(): Map<AlertKind, number> {
    const { to, accounts, store, clock } = this.#options;
    const hour = hourOf(clock.now());
    const said = new Map<AlertKind, number>();
    for (const kind of ALERT_KINDS)
      for (const at of [hour - 1, hour])
        for (const { name } of accounts())
          for (const one of to) {
            const entry = store.repeated("outbox", `${name}\n${keyOf(kind, at, one)}`);
            if (entry) said.set(kind, Math.max(said.get(kind) ?? 0, entry.createdAt));
          }
    return said;
  }
}

const hourOf = (ms: number): number => Math.floor(ms / ALERT_HOUR_MS);
const keyOf = (kind: AlertKind, hour: number, to: string): string => `${KEY}${kind}:${hour}:${to}`;
