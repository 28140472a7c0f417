import PQueue from "p-queue";

export interface RunOptions {
  /** Default 0. */
  priority?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Asked when the task has ended: whether anything was sent. A slot that was not used is free at once. */
  used?: (() => boolean) | undefined;
}

/**
 * At most `cap` requests in any window as the *receiver* counts them: a slot is held from the send until one window
 * after the answer. A sliding window at the sender was refused 17 of 120 times because arrivals bunch, and p-queue's
 * own interval mode follows the wall clock, which jumps.
 */
export class WindowLimiter {
  readonly #queue: PQueue;
  readonly #windowMs: number;
  readonly #holds = new Map<NodeJS.Timeout, () => void>();
  #closed = false;

  constructor(options: { cap: number; windowMs: number }) {
    this.#queue = new PQueue({ concurrency: options.cap });
    this.#windowMs = options.windowMs;
  }

  /**
   * Settles with the task, while its slot is held one window longer. Of those that wait the highest `priority` (default 0) goes first,
   * and among equals the first that came. `signal` calls off a task that waits: it rejects at once, and is never run.
   */
  run<T>(task: () => Promise<T>, { priority = 0, signal, used }: RunOptions = {}): Promise<T> {
    if (signal?.aborted) return Promise.reject(calledOff(signal));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const callOff = (): void => reject(signal ? calledOff(signal) : new Error("called off"));
    const held = async (): Promise<void> => {
      if (signal?.aborted) return;
      signal?.removeEventListener("abort", callOff);
      try {
        resolve(await task());
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
      if (used?.() ?? true) await this.#hold();
    };
    signal?.addEventListener("abort", callOff, { once: true });
    void this.#queue.add(held, { priority });
    return promise;
  }

  /** From now on; what is under way beyond a lower cap ends as it would have. */
  resize(cap: number): void {
    this.#queue.concurrency = cap;
  }

  #hold(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#holds.delete(timer);
        resolve();
        // A timer may fire up to 1 ms early (seen: 0.86 ms).
      }, this.#windowMs + 1);
      this.#holds.set(timer, resolve);
    });
  }

  /** Frees held slots at once: what still runs ends unlimited, so call it after the last send. */
  close(): void {
    this.#closed = true;
    for (const [timer, resolve] of this.#holds) {
      clearTimeout(timer);
      resolve();
    }
    this.#holds.clear();
  }
}

const calledOff = ({ reason }: AbortSignal): Error => (reason instanceof Error ? reason : new Error("called off"));
