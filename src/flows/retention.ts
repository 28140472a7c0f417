import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueStore } from "../queue/store.ts";

export interface RetentionOptions {
  store: Pick<QueueStore, "purge">;
  clock: Clock;
  logger: Logger;
  /** Milliseconds each kind of row is kept after its last change. */
  keep: { settledMs: number; deadMs: number; conversationsMs: number };
  /** DingTalk's clock less ours, of all accounts: a webhook is wiped when it has expired by all of them. Milliseconds. */
  clockOffsets?: () => number[];
  everyMs?: number;
}

const EVERY_MS = 10 * 60_000;

/**
 * Deletes what is older than its retention and wipes expired webhooks, at the start and every ten minutes. Settled
 * entries carry the keys that repetitions are recognised by.
 */
export class Retention implements Service {
  readonly name = "retention";
  readonly #options: RetentionOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.run(), this.#options.everyMs ?? EVERY_MS);
    await this.run();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  health(): Health {
    return { status: "ok" };
  }

  /** One round, or the rest of the one under way. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#purge().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #purge(): Promise<void> {
    const { store, clock, logger, keep, clockOffsets } = this.#options;
    const now = clock.now();
    try {
      const rows = await store.purge({
        settledBefore: now - keep.settledMs,
        deadBefore: now - keep.deadMs,
        conversationsBefore: now - keep.conversationsMs,
        now: now + Math.min(0, ...(clockOffsets?.() ?? [])),
      });
      if (rows > 0) logger.info({ rows }, "old rows deleted");
    } catch (thrown) {
      logger.error({ err: coerceError(thrown) }, "old rows could not be deleted");
    }
  }
}
