import type { Admission } from "./lane-runner.ts";

/** A door that stays shut until somebody opens it: nothing is tried behind it. */
export class PauseDoor implements Admission {
  readonly #waiting = new Set<() => void>();
  #isOpen = false;

  /** Lanes that wait here. */
  get waiting(): number {
    return this.#waiting.size;
  }

  enter(wake: () => void): boolean {
    if (!this.#isOpen) this.#waiting.add(wake);
    return this.#isOpen;
  }

  leave(wake: () => void): void {
    this.#waiting.delete(wake);
  }

  /** For good: who is shut out again gets another door. */
  open(): void {
    this.#isOpen = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
