import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueName, QueueStore } from "../queue/store.ts";

export interface LagWatchOptions {
  store: QueueStore;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  everyMs?: number;
}

const EVERY_MS = 10_000;
/** A lane whose first entry is older than this lags (design §7). */
const LAG_MS = 60_000;
/** Counting further would not change what an operator does. */
const AT_MOST = 1_000;
const REMIND_MS = 5 * 60_000;

/** Counts the conversations whose first entry has waited more than a minute: a metric, in the status, a warning. */
export class LagWatch implements Service {
  readonly name = "lag";
  readonly #options: LagWatchOptions;
  readonly #lagging: Record<QueueName, number> = { inbox: 0, outbox: 0 };
  readonly #saidAt: Record<QueueName, number> = { inbox: -Infinity, outbox: -Infinity };
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LagWatchOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    this.#timer ??= setInterval(() => this.look(), this.#options.everyMs ?? EVERY_MS);
    return Promise.resolve();
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    return Promise.resolve();
  }

  health(): Health {
    return { status: "ok" };
  }

  /** Conversations that lagged at the last look, at most 1,000. */
  lagging(queue: QueueName): number {
    return this.#lagging[queue];
  }

  look(): void {
    for (const queue of ["inbox", "outbox"] as const) {
      try {
        this.#lookAt(queue);
      } catch (thrown) {
        this.#options.logger.warn({ err: coerceError(thrown), queue }, "the lag of conversations is not known");
      }
    }
  }

  #lookAt(queue: QueueName): void {
    const { store, clock, logger, metrics } = this.#options;
    const waiting = store.waitingSince(queue, { before: clock.now() - LAG_MS, after: 0, limit: AT_MOST });
    const before = this.#lagging[queue];
    this.#lagging[queue] = waiting.length;
    metrics.laggingLanes.set({ queue }, waiting.length);
    const [oldest] = waiting;
    if (!oldest) {
      this.#saidAt[queue] = -Infinity;
      if (before > 0) logger.info({ queue }, "no conversation lags any more");
      return;
    }
    if (clock.monotonic() - this.#saidAt[queue] < REMIND_MS) return;
    this.#saidAt[queue] = clock.monotonic();
    const ageMs = clock.now() - oldest.createdAt;
    const fields = { queue, conversations: waiting.length, oldestEntryId: oldest.id, account: oldest.account, ageMs };
    logger.warn({ ...fields, ...oldest.error }, "conversations lag more than a minute");
  }
}
