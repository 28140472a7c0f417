import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { MediaStore } from "../queue/media-store.ts";
import type { MediaFiles } from "./media-files.ts";

export interface MediaExpiryOptions {
  store: Pick<MediaStore, "expire" | "ids" | "totals">;
  files: Pick<MediaFiles, "remove" | "sweep">;
  /** Milliseconds that a file is kept. */
  keepMs: number;
  /** Bytes of all files together; the oldest beyond that go first. */
  maxTotalBytes: number;
  clock: Clock;
  logger: Logger;
  /** Milliseconds between rounds. */
  everyMs?: number;
  /** Milliseconds between looks at how much there is: so long may the bound be exceeded. */
  lookEveryMs?: number;
}

const EVERY_MS = 10 * 60_000;
const LOOK_EVERY_MS = 10_000;
/** Whatever the room: an upload must be there when the message that shows it comes. */
const JUST_MADE_MS = 10 * 60_000;
/** How long DingTalk's id of an uploaded file is used again; how long it lives is not documented (dingtalk-protocol.md §3.8). */
const UPLOADS_KEPT_MS = 7 * 24 * 60 * 60_000;

/**
 * Removes stored files that are too old, every ten minutes, and the oldest when there is too much, however they came; at the
 * start also what a crash left: files that no row knows. What an open message uses stays.
 */
export class MediaExpiry implements Service {
  readonly name = "media-expiry";
  readonly #options: MediaExpiryOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** Of the last round; monotonic. */
  #ranAt = 0;

  constructor(options: MediaExpiryOptions) {
    this.#options = options;
  }

  /** Must come before whatever stores files: the sweep takes a file without a row for a leftover. */
  async start(): Promise<void> {
    if (this.#timer) return;
    // Not at every stored file: the sum is a walk over all of them.
    this.#timer = setInterval(() => this.#look(), this.#options.lookEveryMs ?? LOOK_EVERY_MS);
    await this.#sweep();
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
    this.#ranAt = this.#options.clock.monotonic();
    this.#running ??= this.#expire().finally(() => (this.#running = undefined));
    return this.#running;
  }

  #look(): void {
    const { clock, everyMs = EVERY_MS } = this.#options;
    if (clock.monotonic() - this.#ranAt >= everyMs || this.#tooMuch()) void this.run();
  }

  async #expire(): Promise<void> {
    const { store, files, keepMs, maxTotalBytes, clock, logger } = this.#options;
    const now = clock.now();
    try {
      const ids = await store.expire({
        before: now - keepMs,
        maxBytes: maxTotalBytes,
        uploadsBefore: now - UPLOADS_KEPT_MS,
        spareSince: now - JUST_MADE_MS,
      });
      if (ids.length === 0) return;
      await files.remove(ids);
      logger.info({ files: ids.length }, "old files deleted");
    } catch (thrown) {
      logger.error({ err: coerceError(thrown) }, "old files could not be deleted");
    }
  }

  async #sweep(): Promise<void> {
    const { store, files, logger } = this.#options;
    try {
      const swept = await files.sweep(store.ids());
      if (swept > 0) logger.info({ files: swept }, "leftover files deleted");
    } catch (thrown) {
      logger.error({ err: coerceError(thrown) }, "leftover files could not be deleted");
    }
  }

  /** A store that cannot be read is told by the next round. */
  #tooMuch(): boolean {
    const { store, maxTotalBytes } = this.#options;
    try {
      return store.totals().bytes > maxTotalBytes;
    } catch {
      return false;
    }
  }
}
