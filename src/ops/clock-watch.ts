import { coerceError } from "../domain/errors.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { Health, Service } from "./service.ts";

/** More than NTP corrects by slewing, less than any wait that matters. */
const STEP_MS = 5_000;
const EVERY_MS = 1_000;

export interface ClockWatchOptions {
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** The wall clock was set, or the machine slept: what waits for a time of the wall clock has to be looked at again. */
  onStep: () => Promise<void>;
  everyMs?: number;
}

/**
 * Compares wall time with monotonic time: when they part by more than five seconds, somebody set the clock or the
 * machine slept (the monotonic clock of Linux stands still meanwhile).
 */
export class ClockWatch implements Service {
  readonly name = "clock";
  readonly #options: ClockWatchOptions;
  #offset = 0;
  #timer: NodeJS.Timeout | undefined;
  #handling: Promise<void> = Promise.resolve();

  constructor(options: ClockWatchOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    if (!this.#timer) {
      this.#offset = this.#difference();
      this.#timer = setInterval(() => this.#compare(), this.#options.everyMs ?? EVERY_MS);
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#handling;
  }

  health(): Health {
    return { status: "ok" };
  }

  #difference(): number {
    const { clock } = this.#options;
    return clock.now() - clock.monotonic();
  }

  #compare(): void {
    const { logger, metrics, onStep } = this.#options;
    const offset = this.#difference();
    const stepMs = Math.round(offset - this.#offset);
    if (Math.abs(stepMs) <= STEP_MS) return;
    this.#offset = offset;
    metrics.clockSteps.inc();
    logger.warn({ stepMs }, "the system clock was set, or the machine slept; waits are measured anew");
    this.#handling = this.#handling
      .then(onStep)
      .catch((thrown: unknown) => logger.error({ err: coerceError(thrown) }, "waits could not be measured anew"));
  }
}
