import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";

/** Warnings of which only the first per kind and interval is written, with the number left out since the last. */
export class ThrottledLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #kinds = new Map<string, { at: number; suppressed: number }>();

  constructor(logger: Logger, clock: Clock, everyMs: number) {
    this.#logger = logger;
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /** `kind` comes from a closed list: one record is kept for each. */
  warn(kind: string, fields: Record<string, unknown>, message: string): void {
    const now = this.#clock.monotonic();
    const last = this.#kinds.get(kind);
    if (last !== undefined && now - last.at < this.#everyMs) {
      last.suppressed += 1;
      return;
    }
    this.#kinds.set(kind, { at: now, suppressed: 0 });
    this.#logger.warn({ ...fields, suppressed: last?.suppressed ?? 0 }, message);
  }
}
