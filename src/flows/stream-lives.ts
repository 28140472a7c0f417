import type { Clock } from "../ops/clock.ts";
import type { CardState, FinishedBy, StreamRow } from "../queue/stream-store.ts";
import type { LiveCard } from "./live-card.ts";
import type { Finished } from "./stream-close.ts";

/** An open stream in memory. */
export interface Live {
  readonly card: LiveCard;
  /** Its end is being stored. */
  ending: Promise<Finished | undefined> | undefined;
  lane: string;
  /** Nothing was heard of it since the start. */
  isResumed: boolean;
  /** Monotonic; it counts as left then. */
  until: number;
  timer: NodeJS.Timeout | undefined;
}

/** Replies that are not finished: seen as cards while they grow, or not to be seen (yet). */
export interface OpenReplies {
  card: number;
  buffered: number;
}

export interface LivesTimings {
  /** How long a stream of before the start may be silent. Milliseconds. */
  graceMs: number;
}

export interface LivesOptions {
  clock: Clock;
  timings?: Partial<LivesTimings> | undefined;
  /** The stream was left. Never rejects. */
  onSilence: (live: Live, by: FinishedBy) => Promise<void>;
}

const GRACE_MS = 10_000;
const AGAIN_MS = 5_000;
/** A longer timer would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The open streams, found by what the rest of the bridge knows of them, and the silence of each. */
export class Lives {
  readonly #options: LivesOptions;
  readonly #graceMs: number;
  readonly #byId = new Map<string, Live>();
  readonly #byLane = new Map<string, Set<Live>>();
  /** Until the card has ended: longer than the stream is open. */
  readonly #cards = new Map<string, LiveCard>();
  readonly #ends = new Set<Promise<void>>();

  constructor(options: LivesOptions) {
    this.#options = options;
    this.#graceMs = options.timings?.graceMs ?? GRACE_MS;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Open ones of an account, by how they show now. */
  count(account: string): OpenReplies {
    const open = { card: 0, buffered: 0 };
    for (const { card } of this.#byId.values()) {
      if (card.row.account === account) open[card.state === "shown" ? "card" : "buffered"] += 1;
    }
    return open;
  }

  find(id: string): Live | undefined {
    return this.#byId.get(id);
  }

  add(row: StreamRow, card: LiveCard): Live {
    return this.#add(row, card, { isResumed: false, ms: row.idleMs });
  }

  /** A stream of an earlier life, unless somebody has asked for it already. */
  resume(row: StreamRow, card: () => LiveCard): void {
    if (this.#byId.has(row.id)) return;
    this.#add(row, card(), { isResumed: true, ms: Math.min(row.idleMs, this.#graceMs) });
  }

  /** A sign of life. */
  heard(live: Live): void {
    live.isResumed = false;
    live.until = this.#options.clock.monotonic() + live.card.row.idleMs;
    // The grace after a start is shorter than most silences; later its timer finds out by itself that there is time left.
    if (live.timer === undefined) this.#arm(live, live.card.row.idleMs);
  }

  /** It was left, and could not be ended just now. */
  again(live: Live): void {
    if (this.#byId.has(live.card.row.id)) this.#arm(live, AGAIN_MS);
  }

  /** It is closed; what is known of its card stays until that has ended. */
  remove(live: Live): void {
    const { row } = live.card;
    clearTimeout(live.timer);
    live.timer = undefined;
    this.#byId.delete(row.id);
    const others = this.#byLane.get(live.lane);
    others?.delete(live);
    if (others?.size === 0) this.#byLane.delete(live.lane);
    const { state, isFilled } = live.card;
    if (state === "shown" || state === "creating" || state === "doubtful") if (!isFilled) return;
    const rest = live.card.atRest().finally(() => {
      this.#ends.delete(rest);
      this.finished(row.outTrackId);
    });
    this.#ends.add(rest);
  }

  /** Resolves when nothing is under way with the card; then how it stands, as far as this process knows. */
  async atRest(outTrackId: string): Promise<CardState | "doubtful" | undefined> {
    const card = this.#cards.get(outTrackId);
    await card?.atRest();
    return card?.state;
  }

  /** Nothing more becomes of the card. */
  finished(outTrackId: string): void {
    const card = this.#cards.get(outTrackId);
    if (card && !this.#byId.has(card.row.id)) this.#cards.delete(outTrackId);
  }

  /** Something of the lane was settled. */
  roomIn(lane: string): void {
    for (const live of this.#byLane.get(lane) ?? []) live.card.pump();
  }

  merged(from: string, to: string): void {
    for (const live of this.#byLane.get(from) ?? []) {
      live.lane = to;
      this.#laneSet(to).add(live);
    }
    this.#byLane.delete(from);
  }

  /** Ends the timers and waits for what runs, until `signal` fires. */
  async stop(signal: AbortSignal): Promise<void> {
    for (const live of this.#byId.values()) {
      clearTimeout(live.timer);
      live.timer = undefined;
    }
    const cards = [...this.#cards.values()];
    for (const card of cards) card.stop();
    const ends = [...this.#byId.values()].map(({ ending }) => ending?.catch(() => undefined));
    const idle = Promise.all([...ends, ...this.#ends, ...cards.map((card) => card.atRest())]);
    await Promise.race([idle, aborted(signal)]);
    this.#byId.clear();
    this.#byLane.clear();
    this.#cards.clear();
  }

  #add(row: StreamRow, card: LiveCard, { isResumed, ms }: { isResumed: boolean; ms: number }): Live {
    const { lane } = row;
    const until = this.#options.clock.monotonic() + ms;
    const live: Live = { card, ending: undefined, lane, isResumed, until, timer: undefined };
    this.#byId.set(row.id, live);
    this.#laneSet(lane).add(live);
    this.#cards.set(row.outTrackId, card);
    this.#arm(live, ms);
    return live;
  }

  #laneSet(lane: string): Set<Live> {
    const known = this.#byLane.get(lane) ?? new Set();
    this.#byLane.set(lane, known);
    return known;
  }

  #arm(live: Live, ms: number): void {
    live.timer = setTimeout(() => this.#look(live), Math.min(Math.ceil(ms), MAX_TIMER_MS));
  }

  #look(live: Live): void {
    live.timer = undefined;
    const left = live.until - this.#options.clock.monotonic();
    if (left > 0) return this.#arm(live, left);
    if (live.ending) return this.again(live);
    const end = this.#options
      .onSilence(live, live.isResumed ? "restart" : "idle")
      .finally(() => this.#ends.delete(end));
    this.#ends.add(end);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
