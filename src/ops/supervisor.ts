import { coerceError } from "../domain/errors.ts";
import type { Logger } from "./logger.ts";
import type { Service } from "./service.ts";

/** Starts services in the order given and stops them in the reverse order, whatever one of them does. */
export class Supervisor {
  readonly #logger: Logger;
  readonly #services: Service[];
  #started: Service[] = [];

  constructor(services: Service[], logger: Logger) {
    this.#services = services;
    this.#logger = logger;
  }

  get services(): readonly Service[] {
    return this.#services;
  }

  /** If one fails to start, those before it are stopped and its error is thrown. */
  async start(): Promise<void> {
    for (const service of this.#services) {
      try {
        this.#started.push(service);
        await service.start();
      } catch (error) {
        await this.stop({ signal: AbortSignal.timeout(5_000) });
        throw error;
      }
    }
  }

  /** Stops all that was started. An error of one is logged, the others are stopped all the same. */
  async stop(options: { signal: AbortSignal }): Promise<void> {
    const started = this.#started;
    this.#started = [];
    for (const service of started.toReversed()) {
      try {
        await service.stop(options);
      } catch (thrown) {
        this.#logger.error({ err: coerceError(thrown), part: service.name }, "a part did not stop cleanly");
      }
    }
  }
}
