import type { Admission } from "../queue/lane-runner.ts";

/**
 * Bounds how many messages fetch and upload files at a time, so that slow ones do not take the workers of all conversations.
 * It is also the door where the others wait: a lane enters when a slot seems free, and takes it when its turn comes.
 */
export class MediaSlots implements Admission {
  #size: number;
  /** Below 0 after a smaller size was set, until enough are given back. */
  #free: number;
  readonly #row = new Set<() => void>();

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** A slot, to be given back by calling it once; undefined when there is none. */
  take(): (() => void) | undefined {
    if (this.#free <= 0) return undefined;
    this.#free -= 1;
    return () => {
      this.#free += 1;
      this.#call();
    };
  }

  resize(size: number): void {
    this.#free += size - this.#size;
    this.#size = size;
    for (let n = 0; n < this.#free; n += 1) this.#call();
  }

  enter(wake: () => void): boolean {
    if (this.#free <= 0) {
      this.#row.add(wake);
      return false;
    }
    this.#row.delete(wake);
    return true;
  }

  /** Whoever was called and did not take the slot leaves it to the next. */
  leave(wake: () => void): void {
    this.#row.delete(wake);
    this.#call();
  }

  #call(): void {
    const [first] = this.#row;
    if (this.#free <= 0 || !first) return;
    this.#row.delete(first);
    first();
  }
}
