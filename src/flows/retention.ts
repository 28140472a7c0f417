import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueStore } from "../queue/store.ts";

export interface RetentionOptions {
  store: QueueStore;
  clock: Clock;
  logger: Logger;
  /** Milliseconds each kind of row is kept after its last change. */
  keep: { settledMs: number; deadMs: number; conversationsMs: number };
  everyMs?: number;
}

const HOUR_MS = 60 * 60_000;

/** Deletes what is older than its retention, at the start and every hour. Settled entries carry the dedupe keys. */
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
    this.#timer = setInterval(() => this.#run(), this.#options.everyMs ?? HOUR_MS);
    this.#run();
    await this.#running;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  health(): Health {
    return { status: "ok" };
  }

  #run(): void {
    const { store, clock, logger, keep } = this.#options;
    const now = clock.now();
    this.#running = store
      .purge({
        settledBefore: now - keep.settledMs,
        deadBefore: now - keep.deadMs,
        conversationsBefore: now - keep.conversationsMs,
        now,
      })
      .then((rows) => {
        if (rows > 0) logger.info({ rows }, "old rows deleted");
      })
      .catch((thrown: unknown) => logger.error({ err: coerceError(thrown) }, "old rows could not be deleted"));
  }
}
