/** Below this many served items the array is not worth copying. */
const COMPACT_AT = 1_000;

/** Items that need nothing from outside (a lane that parks at once) are served without a turn of the event loop in between. */
const TURN_AFTER = 200;

/**
 * A fixed number of workers that serve items first come, first served. An item that waits costs one array slot:
 * 100,000 waiting tasks in p-queue took 120 MB and blocked the event loop for 450 ms (measured).
 */
export class Workers<T extends object> {
  readonly #places: number;
  readonly #serve: (item: T) => Promise<void>;
  #waiting: T[] = [];
  #first = 0;
  #busy = 0;
  #served = 0;
  #whenIdle: (() => void)[] = [];

  /** `serve` must not reject. */
  constructor(places: number, serve: (item: T) => Promise<void>) {
    this.#places = places;
    this.#serve = serve;
  }

  push(item: T): void {
    this.#waiting.push(item);
    if (this.#busy >= this.#places) return;
    this.#busy += 1;
    void this.#work();
  }

  /** Forgets what waits; what is being served goes on. */
  clear(): void {
    this.#waiting = [];
    this.#first = 0;
  }

  /** How many are being served. */
  get busy(): number {
    return this.#busy;
  }

  /** Resolves when nothing waits and nothing is being served. */
  idle(): Promise<void> {
    if (this.#busy === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve);
    });
  }

  async #work(): Promise<void> {
    // Lets `push` return first: its caller may not have finished with the item.
    await Promise.resolve();
    for (let item = this.#next(); item; item = this.#next()) {
      await this.#serve(item);
      this.#served += 1;
      if (this.#served % TURN_AFTER === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // In the same step as the look that found nothing, so that no push falls in between.
    this.#busy -= 1;
    if (this.#busy > 0) return;
    const waiters = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiters) resolve();
  }

  #next(): T | undefined {
    const item = this.#waiting[this.#first];
    if (!item) {
      this.clear();
      return undefined;
    }
    this.#first += 1;
    if (this.#first >= COMPACT_AT && this.#first * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }
}
