/** Waits that one `stop` ends all at once. */
export interface Waiter {
  readonly signal: AbortSignal;
  readonly stopped: boolean;
  /** Resolves after `ms`, when `until` resolves, or at `stop`, whichever is first; leaves no timer behind. */
  wait(ms: number, until?: Promise<void>): Promise<void>;
  /** Ends the waits of now. */
  wake(): void;
  stop(): void;
}

export function createWaiter(): Waiter {
  const controller = new AbortController();
  const wakes = new Set<() => void>();
  const wake = (): void => {
    for (const resolve of wakes) resolve();
  };
  return {
    signal: controller.signal,
    get stopped() {
      return controller.signal.aborted;
    },
    async wait(ms, until) {
      if (controller.signal.aborted || ms <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, ms);
      wakes.add(resolve);
      await (until === undefined ? promise : Promise.race([promise, until]));
      wakes.delete(resolve);
      clearTimeout(timer);
    },
    wake,
    stop() {
      controller.abort();
      wake();
    },
  };
}
