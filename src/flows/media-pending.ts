import type { Admission } from "../queue/lane-runner.ts";
import type { MediaFetch } from "../queue/media-store.ts";

interface Waiting {
  lane: string;
  /** Files that are neither stored nor given up. */
  left: Set<number>;
  /** Lanes' calls for when none is left. */
  wakes: Set<() => void>;
}

/** Which messages wait for files, and who waits for those messages. */
export class PendingMedia {
  /** By `seq`. */
  readonly #entries = new Map<number, Waiting>();
  /** Entries that wait, by lane. */
  readonly #lanes = new Map<string, number>();

  /** False when it is known already. */
  add({ seq, n, lane }: Pick<MediaFetch, "seq" | "n" | "lane">): boolean {
    let entry = this.#entries.get(seq);
    if (!entry) {
      entry = { lane, left: new Set(), wakes: new Set() };
      this.#entries.set(seq, entry);
      this.#lanes.set(lane, (this.#lanes.get(lane) ?? 0) + 1);
    }
    if (entry.left.has(n)) return false;
    entry.left.add(n);
    return true;
  }

  has(seq: number): boolean {
    return this.#entries.has(seq);
  }

  hasLane(lane: string): boolean {
    return this.#lanes.has(lane);
  }

  /** Opens when the last file of the entry is settled; undefined when none is outstanding. */
  door(seq: number): Admission | undefined {
    const entry = this.#entries.get(seq);
    if (!entry) return undefined;
    return {
      enter: (wake) => {
        if (this.#entries.get(seq) !== entry) return true;
        entry.wakes.add(wake);
        return false;
      },
      leave: (wake) => {
        entry.wakes.delete(wake);
      },
    };
  }

  /** True when it was the last one of its entry. */
  settled(seq: number, n: number): boolean {
    const entry = this.#entries.get(seq);
    if (!entry?.left.delete(n) || entry.left.size > 0) return false;
    this.#forget(seq, entry);
    return true;
  }

  /** Nobody waits any longer. */
  clear(): void {
    for (const [seq, entry] of this.#entries) this.#forget(seq, entry);
  }

  #forget(seq: number, { lane, wakes }: Waiting): void {
    this.#entries.delete(seq);
    const others = (this.#lanes.get(lane) ?? 1) - 1;
    if (others > 0) this.#lanes.set(lane, others);
    else this.#lanes.delete(lane);
    for (const wake of wakes) wake();
  }
}
