import { backoffDelay } from "../domain/backoff.ts";
import { BridgeError, type ErrorCode, coerceError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import { type RetryPolicy, SUSPECT_AFTER_CRASHES, crashLoop, peerWasAway, settlementOf } from "./settlement.ts";
import type { Entry, LaneHead, QueueName, QueueStore, Settlement } from "./store.ts";
import { Workers } from "./workers.ts";

/** A longer timer would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const STORE_PAUSE_MS = 1_000;

export interface LaneRunnerOptions {
  queue: QueueName;
  store: QueueStore;
  concurrency: number;
  retry: RetryPolicy;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  random?: () => number;
  /** One attempt. A rejection counts as a failed attempt with code `internal`. */
  work: (entry: Entry, signal: AbortSignal) => Promise<Outcome>;
  /** Told after each settlement was committed. */
  onSettled?: (entry: Entry, settlement: Settlement) => void;
}

/**
 * A lane in memory: only its first entry. States: *waiting* (timer set), *ready* (waits for a worker), *running*
 * (`busy > 0`). A lane leaves the map when it has no open entry; one that is not in the map any more is not served.
 */
interface Lane {
  name: string;
  head: LaneHead;
  timer: NodeJS.Timeout | undefined;
  /** Attempts under way; two only after a merge. */
  busy: number;
  /** Consecutive attempts that found the peer away: paces the retries, is not kept. */
  away: number;
  mergedInto: Lane | undefined;
}

/**
 * Runs the entries of one queue: those of a lane one after another in order of commit, lanes side by side. Only lane
 * heads are ever in memory. Entries that were under way in two crashes or more run one at a time.
 */
export class LaneRunner implements Service {
  readonly name: string;
  readonly #options: LaneRunnerOptions;
  readonly #workers: Workers<Lane>;
  readonly #suspects: Workers<Lane>;
  readonly #random: () => number;
  readonly #lanes = new Map<string, Lane>();
  /** Attempts by `seq`. */
  readonly #underWay = new Map<number, Promise<number>>();
  #abort = new AbortController();
  /** What the last caller of start or stop asked for. */
  #wanted = false;
  #running = false;
  #storeDown: string | undefined;

  constructor(options: LaneRunnerOptions) {
    this.name = `${options.queue}-lanes`;
    this.#options = options;
    this.#workers = new Workers(options.concurrency, (lane) => this.#serve(lane));
    this.#suspects = new Workers(1, (lane) => this.#serve(lane));
    this.#random = options.random ?? Math.random;
  }

  async start(): Promise<void> {
    this.#wanted = true;
    // What a stop left to end would otherwise be begun a second time.
    await this.#idle();
    if (!this.#wanted || this.#running) return;
    const { store, queue, retry } = this.#options;
    const heads = store.heads(queue);
    this.#running = true;
    this.#abort = new AbortController();
    // Times on disk are wall time: after the clock was set back they may lie far ahead.
    const longest = Math.max(retry.entry.capMs, retry.peerAway.capMs);
    for (const head of heads) this.#watch(head, 0, longest);
  }

  /** Begins nothing new and waits for what runs; when `signal` fires, what runs is told to give up. */
  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    this.#wanted = false;
    this.#running = false;
    for (const lane of this.#lanes.values()) clearTimeout(lane.timer);
    this.#lanes.clear();
    this.#workers.clear();
    this.#suspects.clear();
    const abort = this.#abort;
    const giveUp = (): void => abort.abort(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp);
    await this.#idle();
    signal.removeEventListener("abort", giveUp);
  }

  async #idle(): Promise<void> {
    await Promise.all([this.#workers.idle(), this.#suspects.idle()]);
  }

  health(): Health {
    return this.#storeDown === undefined
      ? { status: this.#running ? "ok" : "starting" }
      : {
          status: "down",
          code: "store_unavailable",
          detail: this.#storeDown,
          mend: "check the disk of BRIDGE_DATA_DIR",
        };
  }

  /** An entry of `lane` was committed, opened again or cancelled: look at the lane's head. */
  changed(name: string): void {
    if (!this.#running) return;
    const lane = this.#lanes.get(name);
    if (lane && lane.busy > 0) return;
    const head = this.#options.store.head(this.#options.queue, name);
    if (lane && head && lane.head.seq === head.seq && lane.head.dueAt === head.dueAt) return;
    if (lane) this.#drop(lane);
    if (head) this.#watch(head, 0);
  }

  /** The peer is back: lanes that wait because it was away try at once. */
  retryNow(): void {
    for (const lane of this.#lanes.values()) {
      if (lane.away === 0 || lane.timer === undefined) continue;
      clearTimeout(lane.timer);
      this.#enter(lane);
    }
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
    } else {
      target = { ...source, name: to, busy: 0, away: 0 };
      this.#lanes.set(to, target);
    }
    target.busy += source.busy;
    source.mergedInto = target;
  }

  /** Lanes known to have open entries. */
  get lanes(): number {
    return this.#lanes.size;
  }

  #drop(lane: Lane): void {
    clearTimeout(lane.timer);
    this.#lanes.delete(lane.name);
  }

  #watch(head: LaneHead, away: number, atMost = MAX_TIMER_MS): void {
    const lane: Lane = { name: head.lane, head, timer: undefined, busy: 0, away, mergedInto: undefined };
    this.#lanes.set(head.lane, lane);
    const wait = Math.min(head.dueAt - this.#options.clock.now(), atMost);
    if (wait <= 0) return this.#enter(lane);
    lane.timer = setTimeout(() => this.#enter(lane), wait);
  }

  #enter(lane: Lane): void {
    lane.timer = undefined;
    (lane.head.crashes < SUSPECT_AFTER_CRASHES ? this.#workers : this.#suspects).push(lane);
  }

  /** One turn of a lane. Never rejects. */
  async #serve(lane: Lane): Promise<void> {
    // A merge may have given the target's lane to an attempt of the source while it was ready.
    if (this.#lanes.get(lane.name) !== lane || lane.busy > 0) return;
    lane.busy = 1;
    let away = 0;
    try {
      away = await this.#once(lane);
    } catch (error) {
      await this.#storeFailed(error);
    }
    for (;;) {
      try {
        return this.#release(lane, away);
      } catch (error) {
        await this.#storeFailed(error);
      }
    }
  }

  /** Ends the turn: the lane that holds the entries now goes on with its head, if this was the last attempt in it. */
  #release(lane: Lane, away: number): void {
    let current = lane;
    while (current.mergedInto) current = current.mergedInto;
    const goesOn = this.#running && current.busy === 1 && this.#lanes.get(current.name) === current;
    // First, because it may throw: then nothing has changed.
    const head = goesOn ? this.#options.store.head(this.#options.queue, current.name) : undefined;
    for (let each: Lane | undefined = lane; each; each = each.mergedInto) each.busy -= 1;
    if (!goesOn) return;
    this.#drop(current);
    if (head) this.#watch(head, away);
  }

  /**
   * Lanes merged in the store but not yet here: the head may have gone to the other lane, or be under way there. Both
   * are seen before the attempt, so no entry is begun twice or out of its lane.
   */
  async #once(lane: Lane): Promise<number> {
    const { seq } = lane.head;
    const twin = this.#underWay.get(seq);
    if (twin) {
      await twin;
      return 0;
    }
    if (this.#options.store.head(this.#options.queue, lane.name)?.seq !== seq) return 0;
    const attempt = this.#attempt(lane);
    this.#underWay.set(seq, attempt);
    try {
      return await attempt;
    } finally {
      this.#underWay.delete(seq);
    }
  }

  /** One attempt, settled. Returns how often in a row the peer was away. */
  async #attempt(lane: Lane): Promise<number> {
    const { store, retry, clock, metrics } = this.#options;
    const begun = await this.#untilStored(() => store.begin(lane.head.seq));
    const entry = begun?.value;
    if (!entry) return 0;
    if (!this.#running) {
      await this.#untilStored(() => store.settle(entry.seq, notBegun(entry)));
      return 0;
    }
    const hopeless = crashLoop(entry, clock.now());
    if (hopeless) {
      await this.#settle(entry, hopeless, "crashed");
      return 0;
    }
    const outcome = await this.#work(entry);
    const away = peerWasAway(outcome) ? lane.away + 1 : 0;
    const delay = backoffDelay(
      away > 0 ? retry.peerAway : retry.entry,
      away > 0 ? away : entry.attempts + 1,
      this.#random,
    );
    if (outcome.kind === "uncertain") metrics.uncertain.inc({ queue: entry.queue });
    await this.#settle(entry, settlementOf(entry, outcome, { retry, now: clock.now(), delayMs: delay }), outcome.kind);
    return away;
  }

  async #settle(entry: Entry, settlement: Settlement, outcome: Outcome["kind"] | "crashed"): Promise<void> {
    const { store, logger, metrics, onSettled } = this.#options;
    if (!(await this.#untilStored(() => store.settle(entry.seq, settlement)))) return;
    if (settlement.state !== "open") metrics.settled.inc({ queue: entry.queue, state: settlement.state });
    this.#log(entry, outcome, settlement);
    try {
      onSettled?.(entry, settlement);
    } catch (thrown) {
      logger.error({ err: coerceError(thrown), entryId: entry.id }, "a listener to settlements failed");
    }
  }

  async #work(entry: Entry): Promise<Outcome> {
    try {
      return await this.#options.work(entry, this.#abort.signal);
    } catch (thrown) {
      const error = coerceError(thrown);
      const code: ErrorCode = error instanceof BridgeError ? error.code : "internal";
      // Cut off by the stop, like by a crash: nobody knows how far it got.
      if (this.#abort.signal.aborted) return { kind: "uncertain", code: "interrupted", detail: error.message };
      this.#options.logger.error({ err: error, entryId: entry.id, code }, "attempt failed unexpectedly");
      return { kind: "retry", code, class: "entry", detail: error.message };
    }
  }

  /**
   * A settlement must not be forgotten because the disk is full: it is kept and tried again while its lane waits. Ends
   * without the write (undefined) only when the daemon stops; the entry then counts as interrupted at the next start.
   */
  async #untilStored<T>(write: () => Promise<T>): Promise<{ value: T } | undefined> {
    for (;;) {
      try {
        const value = await write();
        this.#storeDown = undefined;
        return { value };
      } catch (error) {
        if (!this.#running) return undefined;
        await this.#storeFailed(error);
      }
    }
  }

  async #storeFailed(thrown: unknown): Promise<void> {
    const error = coerceError(thrown);
    if (this.#storeDown === undefined) this.#options.logger.error({ err: error }, "the store does not work");
    this.#storeDown = error.message;
    if (this.#running) await this.#pause(STORE_PAUSE_MS);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#abort.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#abort.signal.addEventListener("abort", done);
    });
  }

  #log(entry: Entry, outcome: Outcome["kind"] | "crashed", settlement: Settlement): void {
    const { logger } = this.#options;
    const fields = {
      queue: entry.queue,
      entryId: entry.id,
      account: entry.account,
      attempts: entry.attempts,
      outcome,
    };
    if (settlement.state === "delivered") logger.debug(fields, "entry done");
    else if (settlement.state === "dead") logger.error({ ...fields, ...settlement.error }, "entry is a dead letter");
    else if (settlement.state === "open") {
      const inMs = settlement.dueAt - this.#options.clock.now();
      logger[outcome === "held" ? "debug" : "warn"](
        { ...fields, ...settlement.error, inMs },
        "entry is tried again later",
      );
    }
  }
}

/** As it was before `begin`, for an attempt that a stop overtook. */
function notBegun(entry: Entry): Settlement {
  return { state: "open", dueAt: entry.dueAt, counted: false, error: entry.error };
}
