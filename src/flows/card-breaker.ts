import type { Clock } from "../ops/clock.ts";

export interface CardBreakerOptions {
  clock: Clock;
  /** From the first failure to the first probe; doubles with each probe that fails. Milliseconds. */
  baseMs?: number;
  capMs?: number;
}

interface Trip {
  failures: number;
  /** Monotonic; a probe may be made from then on. */
  until: number;
  waitMs: number;
  probing: boolean;
}

const BASE_MS = 30_000;
const CAP_MS = 10 * 60_000;
/** What is remembered before that whose time is long over is dropped. */
const SWEEP_AT = 1_000;

/**
 * Keeps replies from what failed for them: by a key, which is a conversation and an endpoint, or an account and a missing right. One
 * that fails says nothing about another. After `baseMs` one attempt is let through; what comes of it decides.
 */
export class CardBreaker {
  readonly #clock: Clock;
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #trips = new Map<string, Trip>();

  constructor({ clock, baseMs = BASE_MS, capMs = CAP_MS }: CardBreakerOptions) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#capMs = capMs;
  }

  /** Whether an attempt may be made now. */
  admits(key: string): boolean {
    const trip = this.#trips.get(key);
    return !trip || (!trip.probing && this.#clock.monotonic() >= trip.until);
  }

  /** An attempt begins; `failed`, `worked` or `dropped` has to follow. */
  begin(key: string): void {
    const trip = this.#trips.get(key);
    if (trip) trip.probing = true;
  }

  /** Nothing follows from the attempt. */
  dropped(key: string): void {
    const trip = this.#trips.get(key);
    if (trip) trip.probing = false;
  }

  worked(key: string): void {
    this.#trips.delete(key);
  }

  /** With `limit` the key is shut only after so many failures in a row. */
  failed(key: string, limit = 1): void {
    const before = this.#trips.get(key);
    const failures = (before?.failures ?? 0) + 1;
    const waitMs = Math.min(this.#capMs, before && before.waitMs > 0 ? before.waitMs * 2 : this.#baseMs);
    const isShut = failures >= limit;
    if (!before && this.#trips.size >= SWEEP_AT) this.#sweep();
    const until = isShut ? this.#clock.monotonic() + waitMs : -Infinity;
    this.#trips.set(key, { failures, until, waitMs: isShut ? waitMs : 0, probing: false });
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, { until, probing }] of this.#trips) {
      if (!probing && until < now - this.#capMs) this.#trips.delete(key);
    }
    // All of them fresh: the oldest goes.
    const [oldest] = this.#trips.keys();
    if (this.#trips.size >= SWEEP_AT * 10 && oldest !== undefined) this.#trips.delete(oldest);
  }
}
