import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueStore } from "../queue/store.ts";

export interface RetentionOptions {
  store: Pick<QueueStore, "purge" | "wipe" | "compact" | "emptyLog">;
  clock: Clock;
  logger: Logger;
  /** Milliseconds each kind of row, or what was said in it (`messagesMs`), is kept after its last change. */
  keep: { messagesMs: number; settledMs: number; deadMs: number; conversationsMs: number };
  /** DingTalk's clock less ours, of all accounts: a webhook is wiped when it has expired by all of them. Milliseconds. */
  clockOffsets?: () => number[];
  everyMs?: number;
}

const EVERY_MS = 10 * 60_000;
/** Where messages are kept for less than the usual round. */
const LEAST_EVERY_MS = 10_000;
const COMPACT_EVERY_MS = 60 * 60_000;
/** A larger file is not written anew while the bridge works: it would stand still for more than a second. */
const COMPACT_BYTES = 256 * 1_024 * 1_024;

/**
 * Deletes what is older than its retention and wipes expired webhooks, at the start and every ten minutes. Settled
 * entries carry the keys that repetitions are recognised by: what was said in them may go earlier.
 */
export class Retention implements Service {
  readonly name = "retention";
  readonly #options: RetentionOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** Something was wiped since the file was last written anew. */
  #dirty = false;
  /** Monotonic. */
  #compactedAt = Number.NEGATIVE_INFINITY;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#timer) return;
    const { everyMs, keep } = this.#options;
    const usual = Math.min(EVERY_MS, Math.max(LEAST_EVERY_MS, keep.messagesMs));
    this.#timer = setInterval(() => void this.run(), everyMs ?? usual);
    await this.run();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
    // What was settled since the last round goes with the stop: nobody looks after it while no bridge runs.
    if (this.#keepsLess && this.#options.keep.messagesMs === 0) await this.run();
    if (this.#dirty) this.#compact();
  }

  health(): Health {
    return { status: "ok" };
  }

  /** One round, or the rest of the one under way. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#round().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #round(): Promise<void> {
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
      if (this.#keepsLess) await this.#wipe(now);
    } catch (thrown) {
      logger.error({ err: coerceError(thrown) }, "old rows could not be deleted");
    }
  }

  /** Otherwise whole rows go before what was said in them would. */
  get #keepsLess(): boolean {
    const { messagesMs, settledMs } = this.#options.keep;
    return messagesMs < settledMs;
  }

  async #wipe(now: number): Promise<void> {
    const { store, clock, logger, keep } = this.#options;
    // What is settled in this very millisecond too, where nothing is to be kept.
    const { rows, before } = await store.wipe(now - keep.messagesMs + 1);
    if (rows > 0) logger.debug({ rows }, "what was said in settled messages deleted");
    if (rows + before === 0) return;
    this.#dirty = true;
    if (clock.monotonic() - this.#compactedAt >= COMPACT_EVERY_MS) this.#compact();
    else store.emptyLog();
  }

  #compact(): void {
    const { store, clock, logger } = this.#options;
    this.#compactedAt = clock.monotonic();
    try {
      const done = store.compact({ atMostBytes: COMPACT_BYTES });
      if (done) this.#dirty = false;
      else logger.info("deleted words may be left in unused places of the database: it was not compacted");
    } catch (thrown) {
      logger.warn({ err: coerceError(thrown) }, "the database could not be compacted");
    }
  }
}
