import type { Clock } from "../ops/clock.ts";
import type { Health, Service } from "../ops/service.ts";
import { type AttemptOptions, Attempts } from "./attempts.ts";
import type { HeldBounds } from "./held.ts";
import { SUSPECT_AFTER_CRASHES } from "./settlement.ts";
import type { LaneHead, QueueName } from "./store.ts";
import { type Outlook, Turns } from "./turns.ts";
import { Workers } from "./workers.ts";

/** A longer timer would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Decides whether an attempt may begin (queue/gate.ts). */
export interface Admission {
  /** True: go on. False: `wake` is called when it is worth asking again. */
  enter(wake: () => void): boolean;
  /** Always follows `enter`: gives back the place inside, or in the row of those that wait. */
  leave(wake: () => void): void;
}

export interface LaneRunnerOptions extends AttemptOptions {
  queue: QueueName;
  concurrency: number;
  /** The door to the peer that the lane's first entry needs. */
  gate?: (lane: string) => Admission | undefined;
  /** How many entries may be held by the peer (202); without it none is expected. */
  held?: HeldBounds;
}

/**
 * A lane in memory: only its first entry. States: *waiting* (timer set), *parked* (at a gate), *ready* (waits for a
 * worker), *running* (`busy > 0`). A lane leaves the map when it has no open entry; one that is not in the map any more
 * is not served.
 */
interface Lane {
  name: string;
  head: LaneHead;
  /** The entry whose time `head.dueAt` is; undefined when it is a held one's. */
  next: number | undefined;
  /** Does not wait for the time of its next entry. */
  hurried: boolean;
  timer: NodeJS.Timeout | undefined;
  /** Monotonic time when the timer fires. */
  wakeAt: number;
  /** Attempts under way; two only after a merge. */
  busy: number;
  /** Consecutive attempts that found the peer away: paces the retries, is not kept. */
  away: number;
  mergedInto: Lane | undefined;
  /** Where the lane waits or is inside. */
  door: Admission | undefined;
  wake: () => void;
}

/**
 * Runs the entries of one queue: those of a lane one after another in order of commit, lanes side by side. Only lane
 * heads are ever in memory. Entries that were under way in two crashes or more run one at a time.
 */
export class LaneRunner implements Service {
  readonly name: string;
  readonly #options: LaneRunnerOptions;
  readonly #clock: Clock;
  readonly #attempts: Attempts;
  readonly #turns: Turns;
  readonly #workers: Workers<Lane>;
  readonly #suspects: Workers<Lane>;
  readonly #lanes = new Map<string, Lane>();
  /** What the last caller of start or stop asked for. */
  #wanted = false;
  #running = false;

  constructor(options: LaneRunnerOptions) {
    this.name = `${options.queue}-lanes`;
    this.#options = options;
    this.#clock = options.clock;
    this.#attempts = new Attempts(options);
    this.#turns = new Turns({ ...options, attempts: this.#attempts, onRoom: (lane) => this.#hasRoom(lane) });
    this.#workers = new Workers(options.concurrency, (lane) => this.#serve(lane));
    this.#suspects = new Workers(1, (lane) => this.#serve(lane));
  }

  async start(): Promise<void> {
    this.#wanted = true;
    const { store, queue } = this.#options;
    // Times on disk are wall time: after the clock was set back they may lie far ahead. Not running yet, so this gives up
    // where the file takes no writes; the waits in memory are cut all the same.
    await this.#attempts.untilStored(() => store.dueBy(queue, this.#latest()));
    // What a stop left to end would otherwise be begun a second time.
    await this.#idle();
    if (!this.#wanted || this.#running) return;
    const heads = store.heads(queue);
    this.#running = true;
    this.#attempts.start();
    for (const head of heads) {
      this.#watch({ head: { ...head, dueAt: Math.min(head.dueAt, this.#latest()) }, next: head.seq }, 0);
    }
  }

  /** The wall time when the longest backoff that begins now ends. */
  #latest(): number {
    const { entry, peerAway } = this.#options.retry;
    return this.#clock.now() + Math.max(entry.capMs, peerAway.capMs);
  }

  /**
   * The wall clock was set: nothing waits longer than the longest backoff for a time that lies far ahead now. Timers go on
   * as they are, because they do not follow the wall clock.
   */
  async clockStepped(): Promise<void> {
    if (!this.#running) return;
    const { store, queue } = this.#options;
    await this.#attempts.untilStored(() => store.dueBy(queue, this.#latest()));
    const now = this.#clock.now();
    const longest = this.#latest() - now;
    this.#turns.askBy(now + longest);
    for (const lane of this.#lanes.values()) {
      if (lane.timer === undefined) continue;
      clearTimeout(lane.timer);
      const left = Math.min(lane.wakeAt - this.#clock.monotonic(), longest);
      lane.head = { ...lane.head, dueAt: Math.ceil(now + left) };
      this.#arm(lane);
    }
  }

  /** Begins nothing new and waits for what runs; when `signal` fires, what runs is told to give up. */
  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    this.#wanted = false;
    this.#running = false;
    for (const lane of this.#lanes.values()) this.#drop(lane);
    this.#workers.clear();
    this.#suspects.clear();
    const cutOff = this.#attempts.stop();
    const giveUp = (): void => cutOff(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp);
    await this.#idle();
    if (!this.#running) this.#turns.clear();
    signal.removeEventListener("abort", giveUp);
  }

  /** Attempts that run. */
  get underWay(): number {
    return this.#workers.busy + this.#suspects.busy;
  }

  async #idle(): Promise<void> {
    await Promise.all([this.#workers.idle(), this.#suspects.idle()]);
  }

  health(): Health {
    const detail = this.#attempts.storeDown;
    if (detail === undefined) return { status: this.#running ? "ok" : "starting" };
    return { status: "down", code: "store_unavailable", detail, mend: "check the disk of BRIDGE_DATA_DIR" };
  }

  /** An entry of `lane` was committed, opened again or cancelled: look at the lane's head. */
  changed(name: string): void {
    if (!this.#running) return;
    const lane = this.#lanes.get(name);
    if (lane && lane.busy > 0) return;
    const outlook = this.#turns.look(name);
    if (lane && outlook && lane.head.seq === outlook.head.seq && lane.head.dueAt === outlook.head.dueAt) return;
    if (lane) this.#drop(lane);
    if (outlook) this.#watch(outlook, lane?.away ?? 0);
  }

  /** The peer is back: lanes that wait because it was away try at once. */
  retryNow(): void {
    for (const lane of this.#lanes.values()) if (lane.away > 0) this.#hurry(lane);
  }

  /** What this entry waited for is there. Nothing comes before its turn: another entry that is the lane's next keeps its time. */
  hurry(name: string, seq: number): void {
    const lane = this.#lanes.get(name);
    try {
      if (lane && this.#turns.isNext(name, seq)) this.#hurry(lane);
    } catch {
      // The store cannot be read: the entry's own time will come.
    }
  }

  /** Lanes that wait at a door, or for a peer that was away, look again which door is theirs. */
  doorsChanged(concerns: (lane: string) => boolean): void {
    for (const lane of this.#lanes.values()) {
      if (lane.busy > 0 || !concerns(lane.name)) continue;
      if (lane.door !== undefined) {
        this.#leaveDoor(lane);
        this.#enter(lane);
      } else if (lane.away > 0) this.#hurry(lane);
    }
  }

  #hurry(lane: Lane): void {
    if (lane.timer === undefined) return;
    clearTimeout(lane.timer);
    lane.hurried = true;
    this.#enter(lane);
  }

  /**
   * The open entries of lane `from` belong to lane `to` now (already so in the store). An attempt still under way in
   * either keeps the merged lane waiting, so order holds. To be called in the turn of the commit.
   */
  merge(from: string, to: string): void {
    if (!this.#running) return;
    const source = this.#lanes.get(from);
    if (source) this.#drop(source);
    // Somebody who did not know yet may have appended to the old lane after the merge.
    this.changed(from);
    if (!source || source.busy === 0) return this.changed(to);
    let target = this.#lanes.get(to);
    if (target) {
      clearTimeout(target.timer);
      target.timer = undefined;
      // It waits for the attempt now, not for its door.
      if (target.busy === 0) this.#leaveDoor(target);
    } else {
      target = this.#lane(to, source, 0);
      this.#lanes.set(to, target);
    }
    target.busy += source.busy;
    source.mergedInto = target;
  }

  /** The peer holds the first entry of the lane, or could not hold it because of others that it holds. */
  isHeld(name: string): boolean {
    const seq = this.#lanes.get(name)?.head.seq;
    return seq !== undefined && this.#turns.isHeld(name, seq);
  }

  /** Lanes known to have open entries. */
  get lanes(): number {
    return this.#lanes.size;
  }

  /** What is remembered of held entries; 0 when none is held. */
  get heldSize(): number {
    return this.#turns.heldSize;
  }

  #drop(lane: Lane): void {
    clearTimeout(lane.timer);
    if (this.#lanes.get(lane.name) === lane) this.#lanes.delete(lane.name);
    // An attempt under way leaves by itself.
    if (lane.busy === 0) this.#leaveDoor(lane);
  }

  #leaveDoor(lane: Lane): void {
    const { door } = lane;
    lane.door = undefined;
    door?.leave(lane.wake);
  }

  #lane(name: string, { head, next }: Outlook, away: number): Lane {
    const lane: Lane = {
      name,
      head,
      next,
      hurried: false,
      timer: undefined,
      wakeAt: 0,
      busy: 0,
      away,
      mergedInto: undefined,
      door: undefined,
      wake: () => {
        if (this.#lanes.get(lane.name) === lane && lane.busy === 0) this.#enter(lane);
        else this.#leaveDoor(lane);
      },
    };
    return lane;
  }

  #watch(outlook: Outlook, away: number): void {
    const lane = this.#lane(outlook.head.lane, outlook, away);
    this.#lanes.set(lane.name, lane);
    this.#arm(lane);
  }

  #arm(lane: Lane): void {
    const wait = Math.min(lane.head.dueAt - this.#clock.now(), MAX_TIMER_MS);
    if (wait <= 0) return this.#enter(lane);
    lane.wakeAt = this.#clock.monotonic() + wait;
    lane.timer = setTimeout(() => this.#enter(lane), wait);
  }

  #enter(lane: Lane): void {
    lane.timer = undefined;
    (lane.head.crashes < SUSPECT_AFTER_CRASHES ? this.#workers : this.#suspects).push(lane);
  }

  /** The peer may be given one more of this lane. One that is ready or running will find out by itself. */
  #hasRoom(name: string): void {
    const lane = this.#lanes.get(name);
    if (!lane) return this.#turns.leave(name);
    if (lane.timer === undefined) return;
    clearTimeout(lane.timer);
    this.#enter(lane);
  }

  /** One turn of a lane. Never rejects. */
  async #serve(lane: Lane): Promise<void> {
    // A merge may have given the target's lane to an attempt of the source while it was ready.
    if (this.#lanes.get(lane.name) !== lane || lane.busy > 0) return;
    try {
      if (!this.#admit(lane)) return;
    } catch (error) {
      this.#leaveDoor(lane);
      await this.#attempts.storeFailed(error);
      if (this.#lanes.get(lane.name) === lane && lane.busy === 0) this.#enter(lane);
      return;
    }
    lane.busy = 1;
    let away = 0;
    try {
      away = await this.#turns.run(lane);
    } catch (error) {
      await this.#attempts.storeFailed(error);
    }
    this.#leaveDoor(lane);
    for (;;) {
      try {
        return this.#release(lane, away);
      } catch (error) {
        await this.#attempts.storeFailed(error);
      }
    }
  }

  /** Which door it is may change while the lane waits. */
  #admit(lane: Lane): boolean {
    const door = this.#options.gate?.(lane.name);
    if (door !== lane.door) this.#leaveDoor(lane);
    lane.door = door;
    return door?.enter(lane.wake) ?? true;
  }

  /** Ends the turn: the lane that holds the entries now goes on with its head, if this was the last attempt in it. */
  #release(lane: Lane, away: number): void {
    let current = lane;
    while (current.mergedInto) current = current.mergedInto;
    const goesOn = this.#running && current.busy === 1 && this.#lanes.get(current.name) === current;
    // First, because it may throw: then nothing has changed.
    const outlook = goesOn ? this.#turns.look(current.name) : undefined;
    for (let each: Lane | undefined = lane; each; each = each.mergedInto) each.busy -= 1;
    if (!goesOn) return;
    this.#drop(current);
    if (outlook) this.#watch(outlook, away);
  }
}
