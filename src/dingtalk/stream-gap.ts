import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";

/**
 * The times without any live connection. DingTalk does not send later what people wrote in them, so each is one log line
 * and one count, with begin and end; a first connection that succeeds at once is none.
 */
export class StreamGaps {
  readonly #account: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  /** Monotonic begin of the present time without connection, whether or not it is a gap already. */
  #downAt: number | undefined;
  /** Monotonic time up to which the present gap is in the metric. */
  #countedTo: number | undefined;

  constructor(options: { account: string; clock: Clock; logger: Logger; metrics: Metrics }) {
    this.#account = options.account;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
  }

  /** Nothing is connected from now on; not yet a gap (the service starts, or stops). */
  down(): void {
    this.#downAt ??= this.#clock.monotonic();
  }

  /** The time without connection is a gap. Called at its begin and at each failed attempt, so that the metric grows. */
  gap(): void {
    this.down();
    if (this.#downAt === undefined) return;
    if (this.#countedTo === undefined) this.#metrics.streamGaps.inc({ account: this.#account });
    const now = this.#clock.monotonic();
    const seconds = (now - (this.#countedTo ?? this.#downAt)) / 1000;
    this.#metrics.streamGapSeconds.inc({ account: this.#account }, Math.max(0, seconds));
    this.#countedTo = now;
  }

  /** A connection lives, or the service stops: the gap, if there was one, is over. */
  over(): void {
    if (this.#downAt !== undefined && this.#countedTo !== undefined) {
      this.gap();
      const ms = this.#clock.monotonic() - this.#downAt;
      const end = this.#clock.now();
      this.#logger.warn(
        { begin: new Date(end - ms).toISOString(), end: new Date(end).toISOString(), seconds: Math.round(ms) / 1000 },
        "stream gap: messages sent to the robot meanwhile are not delivered later",
      );
    }
    this.#downAt = undefined;
    this.#countedTo = undefined;
  }

  /** Epoch milliseconds of the begin; follows a clock that is set, so that `now - downSince` stays a duration. */
  downSince(): number | undefined {
    if (this.#downAt === undefined) return undefined;
    return this.#clock.now() - (this.#clock.monotonic() - this.#downAt);
  }
}
