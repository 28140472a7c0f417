type Task = () => Promise<void>;

/**
 * Runs at most `size` tasks at a time. A free slot goes to the lane that has the fewest running, so that a conversation with a
 * hundred slow files does not keep another one's only file waiting; within a lane first come first. Tasks never reject.
 */
export class FairSlots {
  readonly #size: number;
  /** Lanes with tasks that wait, in the order in which they came. */
  readonly #waiting = new Map<string, Task[]>();
  /** How many of a lane run. */
  readonly #running = new Map<string, number>();
  readonly #tasks = new Set<Promise<void>>();

  constructor(size: number) {
    this.#size = size;
  }

  /** `first`: before the others of its lane. */
  push(lane: string, task: Task, { first = false }: { first?: boolean } = {}): void {
    const waiting = this.#waiting.get(lane) ?? [];
    this.#waiting.set(lane, waiting);
    if (first) waiting.unshift(task);
    else waiting.push(task);
    this.#fill();
  }

  /** Forgets what has not begun. */
  clear(): void {
    this.#waiting.clear();
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  #fill(): void {
    while (this.#tasks.size < this.#size) {
      const lane = this.#next();
      if (lane === undefined) return;
      const waiting = this.#waiting.get(lane) ?? [];
      const task = waiting.shift();
      if (waiting.length === 0) this.#waiting.delete(lane);
      if (task) this.#begin(lane, task);
    }
  }

  #next(): string | undefined {
    let next: string | undefined;
    let fewest = Infinity;
    for (const lane of this.#waiting.keys()) {
      const running = this.#running.get(lane) ?? 0;
      if (running >= fewest) continue;
      next = lane;
      fewest = running;
      if (running === 0) break;
    }
    return next;
  }

  #begin(lane: string, task: Task): void {
    this.#running.set(lane, (this.#running.get(lane) ?? 0) + 1);
    const done = task().finally(() => {
      this.#tasks.delete(done);
      const left = (this.#running.get(lane) ?? 1) - 1;
      if (left > 0) this.#running.set(lane, left);
      else this.#running.delete(lane);
      this.#fill();
    });
    this.#tasks.add(done);
  }
}
