/** At most so many held entries in a lane, and in a group of lanes (the direct conversations of an account). */
export interface HeldBounds {
  perLane: number;
  perGroup: number;
  /** The group of a lane; undefined = only the lane's own bound. */
  group: (lane: string) => string | undefined;
}

/** The places of one group. */
interface Group {
  /** Held, or just being given to the peer. */
  used: number;
  /** Lanes that wait for a place, first come first. */
  row: Set<string>;
  /** Lanes for which a place is kept. */
  called: Set<string>;
}

interface HeldLane {
  group: string | undefined;
  /** Entry → wall time when it is asked about again. */
  askAt: Map<number, number>;
  /** Nothing of the lane is given to the peer before. */
  notBefore: number;
}

/**
 * Entries that the gateway answered 202: queued there, not started. They stay first in their lane and are asked about
 * again until they are taken. Known only in memory: after a restart they are simply asked about in order.
 *
 * A further entry needs a place in its lane's group before it is given to the gateway, because any of those that are
 * under way may be answered 202.
 */
export class HeldEntries {
  readonly #bounds: HeldBounds;
  readonly #onRoom: (lane: string) => void;
  readonly #lanes = new Map<string, HeldLane>();
  readonly #groups = new Map<string, Group>();

  /** `onRoom`: a place is kept for this lane, which was refused one. */
  constructor(bounds: HeldBounds, onRoom: (lane: string) => void) {
    this.#bounds = bounds;
    this.#onRoom = onRoom;
  }

  /** Most entries of a lane that one turn may look at: all held ones and the next. */
  get reach(): number {
    return this.#bounds.perLane + 1;
  }

  /** Everything that is remembered: entries, places and lanes that wait. */
  get size(): number {
    let size = 0;
    for (const { askAt } of this.#lanes.values()) size += askAt.size;
    for (const { used, row, called } of this.#groups.values()) size += used + row.size + called.size;
    return size;
  }

  has(lane: string, seq: number): boolean {
    return this.#lanes.get(lane)?.askAt.has(seq) ?? false;
  }

  /** The lane holds as many as it may. */
  isFull(lane: string): boolean {
    return this.#bounds.perLane > 0 && (this.#lanes.get(lane)?.askAt.size ?? 0) >= this.#bounds.perLane;
  }

  /** The lane was refused a place and has not got one yet. */
  waits(lane: string): boolean {
    const group = this.#groups.get(this.#bounds.group(lane) ?? "");
    return group?.row.has(lane) ?? false;
  }

  /** When a held entry of the lane is to be asked about. */
  askAt(lane: string, seq: number): number {
    return this.#lanes.get(lane)?.askAt.get(seq) ?? 0;
  }

  /** A place for one further entry of the lane, to be given back by calling the result; undefined: `onRoom` will tell. */
  take(lane: string): { keep(seq: number, askAt: number): void; free(): void } | undefined {
    if (this.#bounds.perLane === 0) return { keep: () => undefined, free: () => undefined };
    const name = this.#bounds.group(lane);
    if (name !== undefined && !this.#enter(name, lane)) return undefined;
    return {
      keep: (seq, askAt) => {
        const held = this.#lanes.get(lane) ?? { group: name, askAt: new Map(), notBefore: 0 };
        if (held.askAt.has(seq)) this.#free(name);
        held.askAt.set(seq, askAt);
        this.#lanes.set(lane, held);
      },
      free: () => this.#free(name),
    };
  }

  #enter(name: string, lane: string): boolean {
    const group = this.#groups.get(name) ?? { used: 0, row: new Set(), called: new Set() };
    this.#groups.set(name, group);
    const kept = group.called.delete(lane);
    if (!kept && group.used + group.called.size >= this.#bounds.perGroup) {
      group.row.add(lane);
      return false;
    }
    group.row.delete(lane);
    group.used += 1;
    return true;
  }

  /** A held entry is still held. */
  askLater(lane: string, seq: number, askAt: number): void {
    const held = this.#lanes.get(lane);
    if (!held?.askAt.has(seq)) return;
    held.askAt.set(seq, askAt);
    held.notBefore = 0;
  }

  /** Nothing of the lane is given before `at`: the peer could not be asked about the first of those that it holds. */
  askAllLater(lane: string, at: number): void {
    const held = this.#lanes.get(lane);
    if (!held) return;
    held.notBefore = at;
    for (const [seq, askAt] of held.askAt) held.askAt.set(seq, Math.max(askAt, at));
  }

  /** Wall time before which nothing of the lane is given. */
  notBefore(lane: string): number {
    return this.#lanes.get(lane)?.notBefore ?? 0;
  }

  release(lane: string, seq: number): void {
    const held = this.#lanes.get(lane);
    if (!held?.askAt.delete(seq)) return;
    if (held.askAt.size === 0) this.#lanes.delete(lane);
    this.#free(held.group);
  }

  /** Forgets those of a lane that are not among its first open entries any more. */
  keepOnly(lane: string, open: readonly number[]): void {
    for (const seq of this.#lanes.get(lane)?.askAt.keys() ?? []) if (!open.includes(seq)) this.release(lane, seq);
  }

  /** The lane wants no further place: one that is kept for it goes to the next. */
  leave(lane: string): void {
    for (const [name, { row, called }] of this.#groups) {
      row.delete(lane);
      if (called.delete(lane)) this.#callNext(name);
    }
  }

  /** None is asked about later than `latest`. */
  askBy(latest: number): void {
    for (const held of this.#lanes.values()) {
      const { askAt } = held;
      held.notBefore = Math.min(held.notBefore, latest);
      for (const [seq, at] of askAt) askAt.set(seq, Math.min(at, latest));
    }
  }

  clear(): void {
    this.#lanes.clear();
    this.#groups.clear();
  }

  #free(name: string | undefined): void {
    const group = name === undefined ? undefined : this.#groups.get(name);
    if (name === undefined || !group) return;
    group.used -= 1;
    this.#callNext(name);
  }

  #callNext(name: string): void {
    const group = this.#groups.get(name);
    if (!group) return;
    const [next] = group.row;
    if (next !== undefined && group.used + group.called.size < this.#bounds.perGroup) {
      group.row.delete(next);
      group.called.add(next);
      this.#onRoom(next);
    }
    if (group.used + group.row.size + group.called.size === 0) this.#groups.delete(name);
  }
}
