/** Waits that one `stop` ends all at once. */
export interface Waiter {
  readonly signal: AbortSignal;
  readonly stopped: boolean;
  /** Resolves after `ms`, when `until` resolves, or at `stop`, whichever is first; leaves no timer behind. */
  wait(ms: number, until?: Promise<void>): Promise<void>;
  stop(): void;
}

export function createWaiter(): Waiter {
  const controller = new AbortController();
  const wake = new Set<() => void>();
  return {
    signal: controller.signal,
    get stopped() {
      return controller.signal.aborted;
    },
    async wait(ms, until) {
      if (controller.signal.aborted || ms <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, ms);
      wake.add(resolve);
      await (until === undefined ? promise : Promise.race([promise, until]));
      wake.delete(resolve);
      clearTimeout(timer);
    },
    stop() {
      controller.abort();
      for (const resolve of wake) resolve();
    },
  };
}
