import { coerceError } from "../domain/errors.ts";
import type { Logger } from "./logger.ts";
import type { Service } from "./service.ts";

/** Starts services in the order given and stops them in the reverse order, whatever one of them does. */
export class Supervisor {
  readonly #logger: Logger;
  readonly #services: Service[];
  #started: Service[] = [];
  #starting: Promise<void> | undefined;
  #wanted = false;
  #stopping: string | undefined;

  constructor(services: Service[], logger: Logger) {
    this.#services = services;
    this.#logger = logger;
  }

  get services(): readonly Service[] {
    return this.#services;
  }

  /** Which one is stopped just now. */
  get stopping(): string | undefined {
    return this.#stopping;
  }

  /** If one fails to start, those before it are stopped and its error is thrown. A stop meanwhile ends the start. */
  async start(): Promise<void> {
    this.#wanted = true;
    for (const service of this.#services) {
      if (!this.#wanted) return;
      this.#started.push(service);
      this.#starting = service.start();
      try {
        await this.#starting;
      } catch (error) {
        await this.#stopStarted({ signal: AbortSignal.timeout(5_000) });
        throw error;
      }
    }
  }

  /**
   * Stops all that was started, once the one that starts just now has. An error of one is logged, the others are stopped
   * all the same.
   */
  async stop(options: { signal: AbortSignal }): Promise<void> {
    this.#wanted = false;
    await Promise.allSettled([this.#starting]);
    await this.#stopStarted(options);
  }

  async #stopStarted(options: { signal: AbortSignal }): Promise<void> {
    const started = this.#started;
    this.#started = [];
    for (const service of started.toReversed()) {
      this.#stopping = service.name;
      try {
        await service.stop(options);
      } catch (thrown) {
        this.#logger.error({ err: coerceError(thrown), part: service.name }, "a part did not stop cleanly");
      }
    }
    this.#stopping = undefined;
  }
}
