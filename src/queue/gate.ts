import { type CircuitBreakerPolicy, circuitBreaker, handleType } from "cockatiel";
import { type Backoff, backoffDelay } from "../domain/backoff.ts";
import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Logger } from "../ops/logger.ts";
import { Streak, judge } from "./streak.ts";

export interface GateOptions {
  /** The peer, as logs and health name it. */
  name: string;
  /** Attempts in a row that find the peer away before nothing is begun any more. */
  failures: number;
  /** Time between probes while it is away. */
  cooldown: Backoff;
  /** Most attempts at a time; after an outage it begins at 2 and doubles with each success up to this. */
  concurrency?: number;
  /** An outcome that says at once that no attempt can succeed: the wrong set-up. */
  shutsAtOnce?: (outcome: Outcome) => boolean;
  random?: () => number;
  logger: Logger;
  /** Told when the peer is found away (false) and when it is back (true). */
  onChange?: (open: boolean) => void;
}

type Wake = () => void;

const RAMP_START = 2;

/** What the breaker counts. */
class PeerAway extends Error {}

/** Passes through the breaker uncounted. */
class SaysNothing extends Error {}

/**
 * The door to one peer. While the peer answers it is open; after some attempts in a row that found the peer away it is
 * shut: nothing is begun, lanes wait in a row, and one of them at a time is called as a probe, first come first, so that
 * probes rotate. The first answer opens it again, at first for two at a time where `concurrency` is set.
 *
 * The breaker's states are cockatiel's. Its clock is not: it reads the wall clock, which may be set back by an hour, so
 * it is told to half-open whenever asked and the time between probes is kept here by timers.
 */
export class Gate {
  readonly name: string;
  readonly #options: GateOptions;
  readonly #streak: Streak;
  readonly #breaker: CircuitBreakerPolicy;
  /** Those that wait to be called. Whoever comes is known by its `wake`. */
  readonly #row = new Set<Wake>();
  /** Called and not here yet: their places are kept for them. */
  readonly #called = new Set<Wake>();
  readonly #inside = new Set<Wake>();
  #concurrency: number;
  #allowed: number;
  /** Grows whenever the gate opens or shuts: an attempt begun in an earlier era says nothing about this one. */
  #era = 0;
  #shutSince: number | undefined;
  #lastFailure: { code: ErrorCode; detail: string } = { code: "internal", detail: "" };
  #probes = 0;
  #probeTimer: NodeJS.Timeout | undefined;
  /** The time of a probe has come and nobody was there. */
  #probeDue = false;
  #prober: Wake | undefined;
  /** `trying`: the attempt of a probe is under way. `done`: the prober has made its attempt. */
  #probe: "none" | "trying" | "done" = "none";
  /** The next failed probe is followed by another at once. */
  #again = false;
  #pauseTimer: NodeJS.Timeout | undefined;
  #pauseEnds = 0;
  #closed = false;

  constructor(options: GateOptions) {
    this.name = options.name;
    this.#options = options;
    this.#concurrency = options.concurrency ?? Infinity;
    this.#allowed = this.#concurrency;
    const streak = new Streak(options.failures);
    this.#streak = streak;
    this.#breaker = circuitBreaker(handleType(PeerAway), {
      halfOpenAfter: -Infinity,
      breaker: { state: 0, success: () => undefined, failure: () => streak.isOver },
    });
    this.#breaker.onBreak(() => this.#shut());
    this.#breaker.onReset(() => this.#open());
  }

  /** The peer answers, as far as is known, and has not asked for patience. */
  get isOpen(): boolean {
    return this.#shutSince === undefined && this.#pauseTimer === undefined;
  }

  /** `observe` would make an attempt now, be it as a probe. */
  get admits(): boolean {
    return this.#pauseTimer === undefined && (this.#shutSince === undefined || this.#mayProbe());
  }

  /** How many stand in the row. */
  get waiting(): number {
    return this.#row.size;
  }

  /** Monotonic milliseconds when the peer was found away; undefined while it answers. */
  get shutSince(): number | undefined {
    return this.#shutSince;
  }

  /** True: go on. False: `wake` is called when it is worth asking again. In both cases `leave` has to follow. */
  enter(wake: Wake): boolean {
    const wasCalled = this.#called.delete(wake);
    if (this.#mayEnter(wake, wasCalled)) {
      this.#row.delete(wake);
      this.#inside.add(wake);
      return true;
    }
    this.#row.add(wake);
    if (this.#prober === wake) {
      this.#prober = undefined;
      this.#probeDue = true;
    }
    return false;
  }

  /** Gives up the place inside or in the row. */
  leave(wake: Wake): void {
    this.#row.delete(wake);
    this.#called.delete(wake);
    this.#inside.delete(wake);
    if (wake !== this.#prober) return this.#call();
    this.#prober = undefined;
    // It never was at the peer, or the time of the next has come meanwhile.
    const nextNow = this.#probe === "none" || this.#probeDue;
    if (this.#probe === "done") this.#probe = "none";
    if (this.#shutSince === undefined) this.#call();
    else if (nextNow) this.#callProber();
  }

  /**
   * Runs one attempt and learns from its outcome whether the peer is there. `lane` is whose attempt it is: failures that
   * may be the lane's own fault shut the gate only when others have them, too. While the gate is shut all but the probe
   * are turned back unmade, as `retry` of class `peer-away`.
   */
  async observe(attempt: () => Promise<Outcome>, lane?: string): Promise<Outcome> {
    if (!this.admits) return this.#turnBack();
    const isProbe = this.#shutSince !== undefined;
    if (isProbe) {
      this.#probeDue &&= this.#prober !== undefined;
      this.#probe = "trying";
    }
    const era = this.#era;
    const seen: { outcome?: Outcome } = {};
    try {
      await this.#breaker.execute(async () => {
        seen.outcome = await attempt().catch((thrown: unknown) => {
          // Half open, the breaker would take an exception of our own for a sign of life.
          throw isProbe ? new PeerAway("", { cause: thrown }) : thrown;
        });
        this.#learn(seen.outcome, { isProbe, isStale: era !== this.#era, lane });
      });
      return seen.outcome ?? this.#turnBack();
    } catch (thrown) {
      if (!seen.outcome) throw thrown instanceof PeerAway ? thrown.cause : thrown;
      return this.#blame(seen.outcome, era);
    } finally {
      if (isProbe) this.#probe = this.#prober === undefined ? "none" : "done";
    }
  }

  /** Returns for a sign of life, throws otherwise. */
  #learn(
    outcome: Outcome,
    { isProbe, isStale, lane }: { isProbe: boolean; isStale: boolean; lane?: string | undefined },
  ) {
    const says = judge(outcome);
    if (says === "away" && "code" in outcome) this.#lastFailure = { code: outcome.code, detail: outcome.detail ?? "" };
    if (isProbe && says !== "there") throw new PeerAway();
    if (isStale || says === "nothing") throw new SaysNothing();
    if (says === "there") {
      this.#streak.clear();
      if (!isProbe) this.#ramp();
      return;
    }
    this.#streak.add(outcome, { lane, atOnce: this.#options.shutsAtOnce?.(outcome) ?? false });
    throw new PeerAway();
  }

  /** While the gate is shut, or was meanwhile, a failure is the peer's; while it is open it may be the entry's own. */
  #blame(outcome: Outcome, era: number): Outcome {
    const peers = this.#shutSince !== undefined || era !== this.#era;
    if (outcome.kind === "retry" && peers) return { ...outcome, class: "peer-away" };
    return outcome.kind === "uncertain" ? { ...outcome, counted: !peers } : outcome;
  }

  #turnBack(): Outcome {
    const class_ = "peer-away" as const;
    if (this.#pauseTimer === undefined) return { kind: "retry", class: class_, afterMs: 0, ...this.#lastFailure };
    const afterMs = Math.max(0, this.#pauseEnds - performance.now());
    return { kind: "retry", class: class_, code: "pacing", detail: `${this.name} asked for patience`, afterMs };
  }

  /** The peer asked for patience: nothing is begun for so long, and nothing is held against it. */
  pause(ms: number): void {
    const ends = performance.now() + ms;
    if (this.#closed || (this.#pauseTimer !== undefined && ends <= this.#pauseEnds)) return;
    this.#pauseEnds = ends;
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = setTimeout(() => {
      this.#pauseTimer = undefined;
      if (this.#shutSince !== undefined && this.#probeDue) this.#callProber();
      this.#call();
    }, ms);
  }

  /** Another most at a time, from now on. */
  resize(concurrency: number): void {
    const isRampedUp = this.#allowed >= this.#concurrency;
    this.#concurrency = concurrency;
    this.#allowed = isRampedUp ? concurrency : Math.min(this.#allowed, concurrency);
    this.#call();
  }

  /** Somebody else found the peer to be back: the next probe goes at once. */
  probeNow(): void {
    if (this.#shutSince === undefined) return;
    if (this.#probe === "trying") this.#again = true;
    else this.#callProber();
  }

  /** Ends the timers; nothing is woken any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = undefined;
    this.#row.clear();
    this.#called.clear();
  }

  #mayEnter(wake: Wake, wasCalled: boolean): boolean {
    if (this.#pauseTimer !== undefined) return false;
    if (this.#shutSince === undefined) return wasCalled || this.#room() > 0;
    if (wake !== this.#prober) {
      if (this.#prober !== undefined || !this.#probeDue || this.#probe === "trying") return false;
      this.#prober = wake;
    }
    this.#probeDue = false;
    this.#probe = "none";
    return true;
  }

  #mayProbe(): boolean {
    if (this.#probe !== "none") return false;
    return this.#prober === undefined ? this.#probeDue : this.#inside.has(this.#prober);
  }

  #room(): number {
    return this.#allowed - this.#inside.size - this.#called.size;
  }

  /** The breaker has opened, after a streak or again after a probe. */
  #shut(): void {
    const { logger, onChange, cooldown, random = Math.random } = this.#options;
    this.#probes += 1;
    const waitMs = this.#again ? 0 : backoffDelay(cooldown, this.#probes, random);
    this.#again = false;
    if (this.#shutSince === undefined) {
      this.#era += 1;
      this.#shutSince = performance.now();
      if (this.#concurrency < Infinity) this.#allowed = Math.min(RAMP_START, this.#concurrency);
      logger.warn({ peer: this.name, probeInMs: waitMs, ...this.#lastFailure }, "peer is away: nothing is begun");
      onChange?.(false);
    }
    if (this.#closed) return;
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => this.#callProber(), waitMs);
  }

  #callProber(): void {
    clearTimeout(this.#probeTimer);
    const [first] = this.#row;
    if (!first || this.#prober !== undefined || this.#probe === "trying" || this.#pauseTimer !== undefined) {
      this.#probeDue = true;
      return;
    }
    this.#probeDue = false;
    this.#prober = first;
    this.#callOne(first);
  }

  #open(): void {
    clearTimeout(this.#probeTimer);
    const awayMs = Math.round(performance.now() - (this.#shutSince ?? 0));
    this.#era += 1;
    this.#shutSince = undefined;
    this.#probes = 0;
    this.#probeDue = false;
    this.#again = false;
    this.#options.logger.info({ peer: this.name, awayMs, waiting: this.#row.size }, "peer is back");
    this.#options.onChange?.(true);
    this.#call();
  }

  #ramp(): void {
    if (this.#allowed >= this.#concurrency) return;
    this.#allowed = Math.min(this.#concurrency, this.#allowed * 2);
    this.#call();
  }

  /** Calls as many as there is room for. */
  #call(): void {
    if (!this.isOpen) return;
    for (const first of this.#row) {
      if (this.#room() <= 0) return;
      this.#callOne(first);
    }
  }

  #callOne(wake: Wake): void {
    this.#row.delete(wake);
    this.#called.add(wake);
    wake();
  }
}
