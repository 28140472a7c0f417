import type { Admission } from "../queue/lane-runner.ts";

class Door implements Admission {
  /** Cards being created. */
  cards = 0;
  readonly #waiting = new Set<() => void>();

  enter(wake: () => void): boolean {
    if (this.cards === 0) return true;
    this.#waiting.add(wake);
    return false;
  }

  leave(wake: () => void): void {
    this.#waiting.delete(wake);
  }

  open(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

/**
 * Keeps the messages of a conversation back while a card is being created there, so that what was accepted after it is shown
 * below it.
 */
export class CardDoors {
  readonly #doors = new Map<string, Door>();

  /** Shut until the result is called. */
  shut(lane: string): () => void {
    const door = this.#doors.get(lane) ?? new Door();
    this.#doors.set(lane, door);
    door.cards += 1;
    let isShut = true;
    return () => {
      if (!isShut) return;
      isShut = false;
      door.cards -= 1;
      if (door.cards > 0) return;
      for (const [name, one] of this.#doors) if (one === door) this.#doors.delete(name);
      door.open();
    };
  }

  /** The door of a lane, while it is shut. */
  of(lane: string): Admission | undefined {
    return this.#doors.get(lane);
  }

  /** The messages of lane `from` are in lane `to` now. */
  merged(from: string, to: string): void {
    const door = this.#doors.get(from);
    if (door && !this.#doors.has(to)) this.#doors.set(to, door);
  }
}
