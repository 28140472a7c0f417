import { backoffDelay } from "../domain/backoff.ts";
import { BridgeError, type ErrorCode, coerceError } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type RetryPolicy, crashLoop, peerWasAway, settlementOf } from "./settlement.ts";
import type { Entry, QueueStore, Settlement } from "./store.ts";

const STORE_PAUSE_MS = 1_000;
/** Waiting that every busy conversation sees: nothing an operator should read about. */
const USUAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["pacing", "media_pending"]);

/** The end of a life, as the log has it. */
const DONE = { inbox: "message taken by the gateway", outbox: "message delivered" } as const;

export interface AttemptOptions {
  store: QueueStore;
  retry: RetryPolicy;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  random?: () => number;
  /** One attempt. A rejection counts as a failed attempt with code `internal`. */
  work: (entry: Entry, signal: AbortSignal) => Promise<Outcome>;
  /** What the lines of an entry say besides its own id: what it belongs to. */
  about?: (entry: Entry) => Record<string, unknown>;
  /** Told after each settlement was committed. */
  onSettled?: (entry: Entry, settlement: Settlement) => void;
}

/** What an attempt came to, for the lane it belongs to. */
export interface Attempted {
  /** `gone`: the entry was not open any more, or the daemon stops. */
  kind: Outcome["kind"] | "gone";
  /** Attempts in a row that found the peer away, this one included. */
  away: number;
  /** Wall time when the entry is due again, when it stays open. */
  dueAt?: number;
}

/** Begin, work, settle: one attempt at one entry, whatever the store does meanwhile. */
export class Attempts {
  readonly #options: AttemptOptions;
  readonly #random: () => number;
  #abort = new AbortController();
  #running = false;
  #storeDown: string | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  start(): void {
    this.#running = true;
    this.#abort = new AbortController();
  }

  /** Nothing new is begun; what runs is told to give up when the result is called. */
  stop(): (reason: unknown) => void {
    this.#running = false;
    const abort = this.#abort;
    return (reason) => abort.abort(reason);
  }

  /** Why the store does not take writes, while it does not. */
  get storeDown(): string | undefined {
    return this.#storeDown;
  }

  /** `away`: attempts in a row that found the peer away before this one. */
  async run(seq: number, away: number): Promise<Attempted> {
    const { store, retry, clock, metrics } = this.#options;
    const begun = await this.untilStored(() => store.begin(seq));
    const entry = begun?.value;
    if (!entry) return { kind: "gone", away: 0 };
    if (!this.#running) {
      await this.untilStored(() => store.settle(entry.seq, notBegun(entry)));
      return { kind: "gone", away: 0 };
    }
    const hopeless = crashLoop(entry, clock.now());
    if (hopeless) {
      await this.#settle(entry, hopeless, "crashed");
      return { kind: "rejected", away: 0 };
    }
    this.#options.logger.debug(this.#fields(entry), "attempt begins");
    const outcome = await this.#work(entry);
    const nowAway = peerWasAway(outcome) ? away + 1 : 0;
    const delayMs = backoffDelay(
      nowAway > 0 ? retry.peerAway : retry.entry,
      nowAway > 0 ? nowAway : entry.attempts + 1,
      this.#random,
    );
    if (outcome.kind === "uncertain") metrics.uncertain.inc({ queue: entry.queue });
    const settlement = settlementOf(entry, outcome, { retry, now: clock.now(), delayMs });
    await this.#settle(entry, settlement, outcome.kind);
    if (settlement.state === "open") return { kind: outcome.kind, away: nowAway, dueAt: settlement.dueAt };
    return { kind: outcome.kind === "delivered" ? "delivered" : "rejected", away: nowAway };
  }

  async #settle(entry: Entry, settlement: Settlement, outcome: Outcome["kind"] | "crashed"): Promise<void> {
    const { store, logger, metrics, onSettled } = this.#options;
    if (!(await this.untilStored(() => store.settle(entry.seq, settlement, outcome)))) return;
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
  async untilStored<T>(write: () => Promise<T>): Promise<{ value: T } | undefined> {
    for (;;) {
      try {
        const value = await write();
        this.#storeDown = undefined;
        return { value };
      } catch (error) {
        if (!this.#running) return undefined;
        await this.storeFailed(error);
      }
    }
  }

  /** Notes that the store does not work and waits a while, unless the daemon stops. */
  async storeFailed(thrown: unknown): Promise<void> {
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

  #fields(entry: Entry): Record<string, unknown> {
    const { queue, id: entryId, account, attempts } = entry;
    return { queue, entryId, ...this.#options.about?.(entry), account, attempts };
  }

  #log(entry: Entry, outcome: Outcome["kind"] | "crashed", settlement: Settlement): void {
    const { logger, clock } = this.#options;
    const fields = { ...this.#fields(entry), outcome };
    if (settlement.state === "delivered") logger.info({ ...fields, ...said(settlement.receipt) }, DONE[entry.queue]);
    else if (settlement.state === "dead") logger.error({ ...fields, ...settlement.error }, "entry is a dead letter");
    else if (settlement.state === "open") {
      const line = { ...fields, ...settlement.error, inMs: settlement.dueAt - clock.now() };
      const usual = outcome === "held" || (settlement.error !== undefined && USUAL.has(settlement.error.code));
      logger[usual ? "debug" : "warn"](line, "entry is tried again later");
    }
  }
}

/** Without the time, which is that of the line. */
function said(receipt: Receipt | undefined): Partial<Receipt> {
  const { at: _, ...words } = receipt ?? { at: 0 };
  return words;
}

/** As it was before `begin`, for an attempt that a stop overtook. */
function notBegun(entry: Entry): Settlement {
  return { state: "open", dueAt: entry.dueAt, counted: false, error: entry.error };
}
