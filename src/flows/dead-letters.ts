import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Entry, QueueName, QueueStore } from "../queue/store.ts";
import type { Scope } from "./messages.ts";
import { type DeadLetterView, deadLetterOf } from "./views.ts";

/** What could not be delivered: listed, opened again, thrown away, in either queue. */
export class DeadLetters {
  readonly #options: {
    store: QueueStore;
    clock: Clock;
    logger: Logger;
    onReplayed: (queue: QueueName, lane: string) => void;
  };

  constructor(options: {
    store: QueueStore;
    clock: Clock;
    logger: Logger;
    onReplayed: (queue: QueueName, lane: string) => void;
  }) {
    this.#options = options;
  }

  list(scope: Scope, options: { limit: number; before?: number }): DeadLetterView[] {
    const accounts = scope.account === undefined ? {} : { accounts: [scope.account] };
    return this.#options.store.deadLetters({ ...options, ...accounts }).map(deadLetterOf);
  }

  /** Tries it again, beginning with the first part that was not delivered. False when there is none of this id. */
  async replay(id: string, scope: Scope): Promise<boolean> {
    const { store, clock, logger, onReplayed } = this.#options;
    const dead = this.#find(id, scope);
    const entry = dead && (await store.replay(dead.queue, id, clock.now()));
    if (!entry) return false;
    logger.info({ entryId: id, queue: entry.queue, account: entry.account }, "dead letter replayed");
    onReplayed(entry.queue, entry.lane);
    return true;
  }

  async discard(id: string, scope: Scope): Promise<boolean> {
    const dead = this.#find(id, scope);
    if (!dead || !(await this.#options.store.discard(dead.queue, id))) return false;
    this.#options.logger.info({ entryId: id, queue: dead.queue, account: dead.account }, "dead letter discarded");
    return true;
  }

  #find(id: string, scope: Scope): Entry | undefined {
    const entry = this.#options.store.find("outbox", id) ?? this.#options.store.find("inbox", id);
    if (entry?.state !== "dead") return undefined;
    return scope.account === undefined || scope.account === entry.account ? entry : undefined;
  }
}
