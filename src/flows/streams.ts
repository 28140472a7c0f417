import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import type { Admission } from "../queue/lane-runner.ts";
import type { FinishedBy, StreamRow } from "../queue/stream-store.ts";
import { type Entry, type QueueStore, splitLane } from "../queue/store.ts";
import { chooseAccount } from "./account-choice.ts";
import type { AccountSender } from "./account.ts";
import { BelowCard } from "./below-card.ts";
import type { CardContext } from "./card-context.ts";
import { CardFinisher, FINISH_TIMINGS, type FinishTimings } from "./card-finish.ts";
import { LiveCard } from "./live-card.ts";
import type { Scope } from "./messages.ts";
import { type FinishRequest, type Finished, closeStream } from "./stream-close.ts";
import { CARD_FINISH, type FilesIn, cardFinishOf } from "./stream-entries.ts";
import { type LateOptions, LateFinish } from "./stream-late.ts";
import { type Live, Lives, type LivesTimings, type OpenReplies } from "./stream-lives.ts";
import { type StreamRequest, newStream } from "./stream-open.ts";
import type { StreamText } from "./stream-text.ts";

export interface StreamsOptions extends Omit<LateOptions, "context"> {
  store: QueueStore;
  context: CardContext;
  accounts: () => string[];
  sender: (account: string) => Pick<AccountSender, "gates"> | undefined;
  filesIn: FilesIn;
  /** What this entry of the outbox waited for is there. */
  hurry: (lane: string, seq: number) => void;
  /** Stands below a text that its gateway left; "" where nothing is to be said. */
  interrupted: string;
  /** Why nothing new can be taken just now. */
  refusal: () => BridgeError | undefined;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  timings?: Partial<ReplyTimings> | undefined;
}

/** What tests may shorten. */
export type ReplyTimings = LivesTimings & FinishTimings;

/** A card must not spin for ever: where the month's calls are used up, its end waits for the next month. */
const LONGEST_END_MS = 40 * 24 * 60 * 60_000;
/** Open at a time; each keeps its text in memory. */
const MOST_OPEN = 10_000;

/**
 * Replies that grow (design §6, §9): taken from the gateway, shown as live cards where that can be, and brought to an end that is
 * stored before anything of it is sent, whoever brings it: the gateway, a silence, or a restart.
 */
export class Streams implements Service {
  readonly name = "streams";
  readonly #options: StreamsOptions;
  readonly #lives: Lives;
  readonly #finisher: CardFinisher;
  readonly #late: LateFinish;
  readonly #below: BelowCard;
  #isStopped = false;

  constructor(options: StreamsOptions) {
    const { context } = options;
    this.#options = options;
    this.#lives = new Lives({
      ...options,
      onSilence: (live, finishedBy) => this.#endBy(live, finishedBy),
    });
    const { patienceMs } = { ...FINISH_TIMINGS, ...options.timings };
    this.#below = new BelowCard({ ...options, ...context.options }, patienceMs);
    this.#finisher = new CardFinisher({
      ...options,
      ...context.options,
      below: this.#below,
      atRest: (outTrackId) => this.#lives.atRest(outTrackId),
    });
    this.#late = new LateFinish(options);
  }

  /** Open streams go on where they were, if something is heard of them soon. */
  start(): Promise<void> {
    this.#isStopped = false;
    for (const row of this.#options.store.streams.open()) this.#lives.resume(row, () => this.#card(row));
    return Promise.resolve();
  }

  /** Nothing is sent any more; what is open stays so on disk. */
  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    this.#isStopped = true;
    await this.#lives.stop(signal);
  }

  health(): Health {
    return this.#options.context.options.problems.health();
  }

  /** Open streams. */
  get size(): number {
    return this.#lives.size;
  }

  /** Open streams of an account. */
  count(account: string): OpenReplies {
    return this.#lives.count(account);
  }

  /**
   * Commits a new stream. `card`: it is to be seen while it grows, as far as DingTalk lets it. Throws BridgeError `account_required`,
   * `account_unknown`, `account_forbidden`, `invalid_request`, `queue_full`, `disk_low` or `store_unavailable`.
   */
  async open(request: StreamRequest, scope: Scope): Promise<{ id: string; mode: StreamRow["mode"] }> {
    const { store, context, accounts, logger } = this.#options;
    const refusal = this.#isStopped ? stopping() : this.#options.refusal();
    if (refusal) throw refusal;
    if (this.#lives.size >= MOST_OPEN) {
      throw new BridgeError("queue_full", `${MOST_OPEN} replies are open; finish some`, { retryable: true });
    }
    const account = chooseAccount(request, scope, accounts());
    const { row, always } = newStream({ ...request, account }, context);
    await store.streams.add(row);
    if (!this.#isStopped) this.#lives.add(row, new LiveCard(row, context, always));
    const { id: streamId, inReplyTo, to, mode } = row;
    logger.debug({ account, streamId, inReplyTo, to, mode }, "a reply begins to grow");
    return { id: streamId, mode };
  }

  /**
   * The newest text, and a sign of life. Throws BridgeError `stream_unknown`, also for another account's, or `stream_closed`.
   */
  put(id: string, text: StreamText, scope: Scope): void {
    const { live, row } = this.#find(id, scope);
    if (!row) throw new BridgeError("stream_unknown", `there is no stream ${JSON.stringify(id)}`);
    if (!live || live.ending)
      throw new BridgeError("stream_closed", "the stream is closed: nothing more is shown of it");
    this.#lives.heard(live);
    live.card.put(text);
  }

  /**
   * Commits the end of a stream and all that has to be sent for it. Throws BridgeError `stream_unknown`, `stream_closed` (it was
   * finished with another body), or, for a late text that becomes a message of its own, what `Messages.accept` throws.
   */
  async finish(id: string, request: FinishRequest, scope: Scope): Promise<Finished> {
    for (;;) {
      const { live, row } = this.#find(id, scope);
      if (!live) return this.#late.finish(id, row, request, scope);
      // Somebody else ends it just now: what comes of that is looked at again.
      if (live.ending) await live.ending.catch(() => undefined);
      else {
        const finished = await this.#end(live, { finishedBy: "gateway", request });
        if (finished) return finished;
      }
    }
  }

  /** How old the end of a card may become before it is given up; undefined for other entries. Milliseconds. */
  longestEnd(entry: Entry): number | undefined {
    return isCardFinish(entry) ? LONGEST_END_MS : undefined;
  }

  /** Brings a card to its end, and lets a message wait that goes below one. Undefined: the entry is a message to be sent. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome | undefined> {
    return isCardFinish(entry) ? this.#finisher.deliver(entry, signal) : this.#below.deliver(entry);
  }

  /** The door of a card's lane, and of a conversation in which a card is being created. */
  admission(lane: string): Admission | undefined {
    const { account, outTrackId } = splitLane(lane);
    return outTrackId === undefined ? this.creating(lane) : this.#options.sender(account)?.gates.card;
  }

  /** Messages that were accepted while a card is being created go below it. */
  creating(lane: string): Admission | undefined {
    return this.#options.context.doors.of(lane);
  }

  /** An entry of the outbox needs no more work: its conversation may have room for a card now. */
  outboxSettled(entry: Entry): void {
    if (!isCardFinish(entry)) return this.#lives.roomIn(entry.lane);
    this.#lives.finished(cardFinishOf(entry).outTrackId);
    this.#below.ended(entry);
  }

  /** The person's conversation is known now. */
  merged({ from, to }: { from: string; to: string }): void {
    this.#options.context.doors.merged(from, to);
    this.#lives.merged(from, to);
  }

  #card(row: StreamRow): LiveCard {
    const { context } = this.#options;
    return new LiveCard(row, context, context.formatOf(row, row.asked) === "card");
  }

  /** Without `live` it is closed; without both there is none that the caller may know of. */
  #find(id: string, scope: Scope): { live?: Live; row?: StreamRow } {
    if (this.#isStopped) throw stopping();
    const live = this.#lives.find(id);
    const row = live?.card.row ?? this.#options.store.streams.find(id);
    if (!row || (scope.account !== undefined && scope.account !== row.account)) return {};
    if (live) return { live, row };
    // Between the start of the API and our own.
    return row.state === "open" ? { live: this.#lives.add(row, this.#card(row)), row } : { row };
  }

  async #endBy(live: Live, finishedBy: FinishedBy): Promise<void> {
    const { logger } = this.#options;
    const { account, id: streamId } = live.card.row;
    try {
      await this.#end(live, { finishedBy });
    } catch (thrown) {
      logger.warn({ err: coerceError(thrown), account, streamId }, "a reply could not be ended: it is tried again");
      this.#lives.again(live);
    }
  }

  /** Undefined when it was closed already. */
  #end(live: Live, end: { finishedBy: FinishedBy; request?: FinishRequest }): Promise<Finished | undefined> {
    const ending = closeStream(live.card, end, { ...this.#options, ...this.#options.context.options })
      .then((finished) => {
        this.#lives.remove(live);
        return finished;
      })
      .finally(() => (live.ending = undefined));
    live.ending = ending;
    return ending;
  }
}

const isCardFinish = ({ kind }: Entry): boolean => kind === CARD_FINISH;

function stopping(): BridgeError {
  return new BridgeError("stopping", "the bridge is stopping; try again", { retryable: true });
}
