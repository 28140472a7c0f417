import type { Admission } from "../queue/lane-runner.ts";

/** Both limits are read at each use, and may change. */
export interface PacingOptions {
  /** Sends to one conversation in any second. */
  readonly perSecond: number;
  /** Sends to one group in any minute (the custom robot's figure, dingtalk-protocol.md §3.3, assumed for app robots). */
  readonly groupPerMinute: number;
  /** Monotonic milliseconds. */
  now: () => number;
}

/** What is remembered of one conversation. */
interface Pace {
  /** When its last sends were answered, oldest first. */
  answered: number[];
  /** How often in a row DingTalk found it too busy. */
  strikes: number;
  pausedUntil: number;
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const TEN_MINUTES_MS = 10 * MINUTE_MS;
/** Conversations remembered before those with nothing left to remember are dropped. */
const SWEEP_AT = 1_000;

/**
 * The limits of one conversation. What counts is when the *answer* to a send came: the receiver counted it before that,
 * so no window of the receiver ever holds more than the limit. A lane sends one thing at a time, so a list of times will do.
 */
export class Pacing {
  readonly #options: PacingOptions;
  readonly #paces = new Map<string, Pace>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #sweepAt = SWEEP_AT;

  constructor(options: PacingOptions) {
    this.#options = options;
  }

  /** Conversations that are remembered. */
  get size(): number {
    return this.#paces.size;
  }

  /** Milliseconds until the conversation may be sent to again; 0 = now. */
  wait(conversation: string, isGroup: boolean): number {
    const pace = this.#paces.get(conversation);
    if (!pace) return 0;
    const { perSecond, groupPerMinute, now } = this.#options;
    const free = (count: number, windowMs: number): number => (pace.answered.at(-count) ?? -Infinity) + windowMs;
    const at = Math.max(
      pace.pausedUntil,
      free(perSecond, SECOND_MS),
      isGroup ? free(groupPerMinute, MINUTE_MS) : -Infinity,
    );
    const left = at - now();
    // A timer may fire up to 1 ms early, and the receiver's window is closed at both ends.
    return left >= 0 ? Math.ceil(left) + 1 : 0;
  }

  /** The answer to a send came now, or `agoMs` ago (receipts of before a restart, to be told oldest first). */
  answered(conversation: string, agoMs = 0): void {
    const { groupPerMinute, perSecond, now } = this.#options;
    const { answered } = this.#pace(conversation);
    answered.push(now() - agoMs);
    if (answered.length > Math.max(groupPerMinute, perSecond)) answered.shift();
  }

  /** DingTalk found it too busy: it is left alone for a minute, then two, … up to ten. Returns the milliseconds. */
  throttled(conversation: string): number {
    const pace = this.#pace(conversation);
    pace.strikes += 1;
    const ms = Math.min(TEN_MINUTES_MS, MINUTE_MS * 2 ** Math.min(pace.strikes - 1, 10));
    pace.pausedUntil = this.#options.now() + ms;
    return ms;
  }

  /** DingTalk took something: the next throttle is the first again. */
  taken(conversation: string): void {
    const pace = this.#paces.get(conversation);
    if (pace) pace.strikes = 0;
  }

  /** A door that opens after `ms`. */
  door(ms: number): Admission {
    let timer: NodeJS.Timeout | undefined;
    const forget = (): void => {
      clearTimeout(timer);
      if (timer) this.#timers.delete(timer);
    };
    return {
      enter: (wake) => {
        forget();
        timer = setTimeout(() => {
          forget();
          wake();
        }, ms);
        this.#timers.add(timer);
        return false;
      },
      leave: forget,
    };
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #pace(conversation: string): Pace {
    const known = this.#paces.get(conversation);
    if (known) return known;
    if (this.#paces.size >= this.#sweepAt) this.#sweep();
    const pace = { answered: [], strikes: 0, pausedUntil: -Infinity };
    this.#paces.set(conversation, pace);
    return pace;
  }

  /** At growing sizes, so that a sweep that finds little to drop is not made again and again. */
  #sweep(): void {
    const now = this.#options.now();
    for (const [conversation, { answered, pausedUntil }] of this.#paces) {
      const isOld = (answered.at(-1) ?? -Infinity) < now - MINUTE_MS && pausedUntil < now - TEN_MINUTES_MS;
      if (isOld) this.#paces.delete(conversation);
    }
    this.#sweepAt = Math.max(SWEEP_AT, this.#paces.size * 2);
  }
}
