import type { Clock } from "../ops/clock.ts";
import type { StreamTimings } from "./stream-timings.ts";

/**
 * `dead`: nothing came back after several pings. `silent`: pongs come but no frames, where the server's habit says they
 * should. `old`: past its age. The first one of each kind is reported, once.
 */
export type Verdict = "dead" | "silent" | "old";

export interface Heart {
  ping(): void;
  /** Bytes received so far; any growth is a sign of life. */
  bytesRead(): number;
}

/** Watches one connection. One interval and one short timer, both gone after `stop`. */
export class Heartbeat {
  readonly #heart: Heart;
  readonly #timings: StreamTimings;
  readonly #clock: Clock;
  readonly #verdict: (verdict: Verdict) => void;
  readonly #given = new Set<Verdict>();
  readonly #openedAt: number;
  #lastFrameAt: number;
  #lastSystemAt: number | undefined;
  #systemFrames = 0;
  #largestGapMs = 0;
  #misses = 0;
  #tick: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;
  #look: NodeJS.Immediate | undefined;

  constructor(heart: Heart, timings: StreamTimings, clock: Clock, verdict: (verdict: Verdict) => void) {
    this.#heart = heart;
    this.#timings = timings;
    this.#clock = clock;
    this.#verdict = verdict;
    this.#openedAt = clock.monotonic();
    this.#lastFrameAt = this.#openedAt;
  }

  start(): void {
    this.#tick ??= setInterval(() => this.#beat(), this.#timings.pingEveryMs);
  }

  stop(): void {
    clearInterval(this.#tick);
    clearTimeout(this.#check);
    clearImmediate(this.#look);
    this.#tick = this.#check = this.#look = undefined;
  }

  /** A frame came. SYSTEM frames teach the server's habit: no fixed interval of theirs is promised. */
  frame(system: boolean): void {
    const now = this.#clock.monotonic();
    this.#lastFrameAt = now;
    if (!system) return;
    if (this.#lastSystemAt !== undefined) this.#largestGapMs = Math.max(this.#largestGapMs, now - this.#lastSystemAt);
    this.#lastSystemAt = now;
    this.#systemFrames += 1;
  }

  #beat(): void {
    const now = this.#clock.monotonic();
    const { silenceFrames, silenceFactor, silenceAtLeastMs, maxAgeMs, pongWaitMs } = this.#timings;
    const patience = Math.max(silenceAtLeastMs, silenceFactor * this.#largestGapMs);
    if (this.#systemFrames >= silenceFrames && now - this.#lastFrameAt > patience) this.#give("silent");
    if (now - this.#openedAt > maxAgeMs) this.#give("old");
    const before = this.#heart.bytesRead();
    this.#heart.ping();
    clearTimeout(this.#check);
    this.#check = setTimeout(() => {
      // After a blocked event loop this timer runs before the answer that is already here is read: look one turn later.
      this.#look = setImmediate(() => this.#judge(before));
    }, pongWaitMs);
  }

  #judge(before: number): void {
    this.#misses = this.#heart.bytesRead() > before ? 0 : this.#misses + 1;
    if (this.#misses >= this.#timings.pingMisses) this.#give("dead");
  }

  #give(verdict: Verdict): void {
    if (this.#given.has(verdict) || this.#tick === undefined) return;
    this.#given.add(verdict);
    this.#verdict(verdict);
  }
}
