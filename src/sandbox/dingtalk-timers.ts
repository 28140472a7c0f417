/** Owns every timer of the simulator, so that closing leaves none. */
export class Timers {
  readonly #pending = new Set<NodeJS.Timeout>();
  #closed = false;

  /** Runs once after `ms`. Returns its cancellation. */
  after(ms: number, run: () => void): () => void {
    if (this.#closed) return () => {};
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      run();
    }, ms);
    this.#pending.add(timer);
    return () => {
      clearTimeout(timer);
      this.#pending.delete(timer);
    };
  }

  /** Runs every `ms`; 0 = never. Returns its cancellation. */
  every(ms: number, run: () => void): () => void {
    if (this.#closed || ms <= 0) return () => {};
    const timer = setInterval(run, ms);
    this.#pending.add(timer);
    return () => {
      clearInterval(timer);
      this.#pending.delete(timer);
    };
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#pending) clearTimeout(timer);
    this.#pending.clear();
  }
}
