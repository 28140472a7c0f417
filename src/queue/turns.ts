import type { Clock } from "../ops/clock.ts";
import type { Attempted, Attempts } from "./attempts.ts";
import { type HeldBounds, HeldEntries } from "./held.ts";
import type { LaneHead, QueueName, QueueStore } from "./store.ts";

/** What there is to do in a lane, and when. */
export interface Outlook {
  /** Its first open entry; `dueAt` is when something can be done in the lane, Infinity while that is up to others. */
  head: LaneHead;
  /** The entry whose time `head.dueAt` is; undefined when it is a held one's. */
  next: number | undefined;
}

/** A lane whose turn it is. */
export interface LaneTurn extends Outlook {
  name: string;
  /** Does not wait for the time of its next entry. */
  hurried: boolean;
  /** Attempts in a row that found the peer away. */
  away: number;
}

export interface TurnsOptions {
  store: QueueStore;
  queue: QueueName;
  clock: Clock;
  attempts: Attempts;
  held?: HeldBounds;
  /** A lane that could not give its next entry, because its group held too many, can now. */
  onRoom: (lane: string) => void;
}

const NOTHING_HELD: HeldBounds = { perLane: 0, perGroup: 0, group: () => undefined };

/** What is done in the turn of one lane, in which order. */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #held: HeldEntries;
  /** Attempts by `seq`. */
  readonly #underWay = new Map<number, Promise<unknown>>();

  constructor(options: TurnsOptions) {
    this.#options = options;
    this.#held = new HeldEntries(options.held ?? NOTHING_HELD, options.onRoom);
  }

  /** Undefined when the lane has no open entry. */
  look(name: string): Outlook | undefined {
    const front = this.#front(name);
    const [first] = front;
    if (!first) {
      this.#held.leave(name);
      return undefined;
    }
    const times = front.filter(({ seq }) => this.#held.has(name, seq)).map(({ seq }) => this.#held.askAt(name, seq));
    const further = front.find(({ seq }) => !this.#held.has(name, seq));
    const next = this.#held.isFull(name) || this.#held.waits(name) ? undefined : further;
    const nextAt = next ? Math.max(next.dueAt, this.#held.notBefore(name)) : Infinity;
    const dueAt = Math.min(...times, nextAt);
    const crashes = Math.max(...front.map((one) => one.crashes));
    return { head: { ...first, dueAt, crashes }, next: nextAt === dueAt ? next?.seq : undefined };
  }

  /**
   * Asks about the held entries of the lane, in order, then gives the next one, and those behind it as long as they are
   * held. Returns how often in a row the peer was away. An entry that must be tried again later ends the turn: nothing may
   * overtake it.
   */
  async run({ name, head, next, hurried, away }: LaneTurn): Promise<number> {
    const front = this.#front(name);
    // Lanes merged in the store but not yet here: the head may have gone to the other lane.
    if (front[0]?.seq !== head.seq) return 0;
    const held = front.filter(({ seq }) => this.#held.has(name, seq));
    const further = front.filter(({ seq }) => !this.#held.has(name, seq));
    let last: Attempted = { kind: "held", away };
    for (const { seq } of held) {
      last = await this.#ask(name, seq, last.away);
      if (!goesOn(last)) break;
    }
    for (const { seq, dueAt } of goesOn(last) ? further : []) {
      const isTime = dueAt <= this.#options.clock.now() || hurried || seq === next;
      if (!isTime || this.#held.isFull(name)) break;
      const given = await this.#give(name, seq, last.away);
      if (!given) return last.away;
      last = given;
      if (last.kind !== "held" || !goesOn(last) || this.#held.reach === 1) break;
    }
    // A place that was kept for the lane and is not needed now is another's.
    this.#held.leave(name);
    return last.away;
  }

  /** Asks about a held entry. */
  async #ask(name: string, seq: number, away: number): Promise<Attempted> {
    const attempted = await this.#attempt(seq, away);
    if (attempted.dueAt === undefined) this.#held.release(name, seq);
    else if (attempted.kind === "held") this.#held.askLater(name, seq, attempted.dueAt);
    else this.#held.askAllLater(name, attempted.dueAt);
    return attempted;
  }

  /** Gives a further entry; undefined while there is no place for it. */
  async #give(name: string, seq: number, away: number): Promise<Attempted | undefined> {
    const place = this.#held.take(name);
    if (!place) return undefined;
    let attempted: Attempted | undefined;
    try {
      attempted = await this.#attempt(seq, away);
      return attempted;
    } finally {
      if (attempted?.kind === "held" && attempted.dueAt !== undefined) place.keep(seq, attempted.dueAt);
      else place.free();
    }
  }

  async #attempt(seq: number, away: number): Promise<Attempted> {
    const twin = this.#underWay.get(seq);
    if (twin) {
      await twin;
      return { kind: "gone", away: 0 };
    }
    const attempt = this.#options.attempts.run(seq, away);
    this.#underWay.set(seq, attempt);
    return attempt.finally(() => this.#underWay.delete(seq));
  }

  /** The entry is the first of the lane that the peer does not hold. */
  isNext(name: string, seq: number): boolean {
    return this.#front(name).find((one) => !this.#held.has(name, one.seq))?.seq === seq;
  }

  #front(name: string): LaneHead[] {
    const { store, queue } = this.#options;
    const front = store.front(queue, name, this.#held.reach);
    this.#held.keepOnly(
      name,
      front.map(({ seq }) => seq),
    );
    return front;
  }

  /** The peer holds the entry, or could not be given its lane's because of others that it holds. */
  isHeld(name: string, seq: number): boolean {
    return this.#held.has(name, seq) || this.#held.waits(name);
  }

  get heldSize(): number {
    return this.#held.size;
  }

  /** No held entry is asked about later than `latest`. */
  askBy(latest: number): void {
    this.#held.askBy(latest);
  }

  /** The lane is gone. */
  leave(name: string): void {
    this.#held.leave(name);
  }

  clear(): void {
    this.#held.clear();
  }
}

/** Nothing that must come before the lane's next entry is outstanding. */
function goesOn({ kind, dueAt }: Attempted): boolean {
  return kind !== "gone" && (kind === "held" || dueAt === undefined);
}
