import { BridgeError, coerceError } from "../domain/errors.ts";
import type { MediaApi } from "../dingtalk/media-api.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import type { Admission } from "../queue/lane-runner.ts";
import type { FetchResult, MediaFetch, MediaFile } from "../queue/media-store.ts";
import type { QueueStore } from "../queue/store.ts";
import { FairSlots } from "./fair-slots.ts";
import { ExchangeError, failureOf } from "./media-failure.ts";
import type { MediaFiles } from "./media-files.ts";
import type { GuardedFetch } from "./media-guard.ts";
import { PendingMedia } from "./media-pending.ts";

export interface MediaFetchTimings {
  /** Milliseconds before the second try, the third, …: one try more than there are numbers. */
  delaysMs: readonly number[];
  /** One try: the exchange of the code, the download and the write. */
  tryMs: number;
  /** No try begins later than this after the first one began. */
  spanMs: number;
  /** Before a write that the store did not take is made again. */
  storePauseMs: number;
}

const TIMINGS: MediaFetchTimings = { delaysMs: [2_000, 30_000], tryMs: 60_000, spanMs: 300_000, storePauseMs: 1_000 };
/** Tries of one file in all, those that a stop or a crash cut off included: a file that ends the process is given up. */
const MAX_TRIES = 6;
/** DingTalk may ask for patience; the message waits for its file. */
const MAX_PATIENCE_MS = 60_000;

export interface MediaFetcherOptions {
  store: Pick<QueueStore, "head" | "media">;
  files: Pick<MediaFiles, "write">;
  /** Undefined: this account is not configured, its files stay as they are. */
  api: (account: string) => Pick<MediaApi, "downloadUrl"> | undefined;
  fetch: GuardedFetch;
  maxBytes: number;
  /** Files at a time, for each account. */
  perAccount: number;
  /** All files of this entry are settled: for one that waits elsewhere than at its door, behind what the gateway holds. */
  onReady?: (lane: string, seq: number) => void;
  /** Why no file can be stored just now. */
  refusal: () => BridgeError | undefined;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  timings?: Partial<MediaFetchTimings>;
}

interface Job {
  fetch: MediaFetch;
  /** Begun by this process. */
  tries: number;
  /** Monotonic milliseconds of the first. */
  since: number | undefined;
}

/**
 * Fetches what people sent (design §8): from the commit of the message on, whatever its lane and the gateway do meanwhile,
 * because download codes are temporary. A message waits for its files first in its lane; every file ends as stored or with the
 * reason why not, so the message always comes.
 */
export class MediaFetcher implements Service {
  readonly name = "media-fetcher";
  readonly #options: MediaFetcherOptions;
  readonly #timings: MediaFetchTimings;
  readonly #pending = new PendingMedia();
  readonly #slots = new Map<string, FairSlots>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #stop = new AbortController();
  #running = false;

  constructor(options: MediaFetcherOptions) {
    this.#options = options;
    this.#timings = { ...TIMINGS, ...options.timings };
  }

  /** What an earlier process left unfinished comes first. */
  async start(): Promise<void> {
    if (this.#running) return;
    // What a stop left to end would otherwise be begun a second time.
    await this.#idle();
    this.#stop = new AbortController();
    this.#running = true;
    for (const fetch of this.#options.store.media.unfinishedFetches()) this.#take(fetch);
  }

  /** Cuts off what runs; it is fetched after the next start. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#stop.abort(new BridgeError("stopping", "the bridge stops", { retryable: true }));
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const slots of this.#slots.values()) slots.clear();
    this.#pending.clear();
    await this.#idle();
  }

  health(): Health {
    return { status: this.#running ? "ok" : "starting" };
  }

  /** A message with files was committed. May be told again. To be called before its lane is. */
  added(seq: number): void {
    if (!this.#running) return;
    for (const fetch of this.#options.store.media.fetchesOf(seq)) if (!fetch.result) this.#take(fetch);
  }

  /** The account is served again: what it left unfinished is fetched. */
  resumed(account: string): void {
    if (!this.#running) return;
    for (const fetch of this.#options.store.media.unfinishedFetches()) if (fetch.account === account) this.#take(fetch);
  }

  isPending(seq: number): boolean {
    return this.#pending.has(seq);
  }

  /** The door before a lane whose first entry waits for files; undefined for every other. */
  admission(lane: string): Admission | undefined {
    if (!this.#pending.hasLane(lane)) return undefined;
    const head = this.#options.store.head("inbox", lane);
    return head && this.#pending.door(head.seq);
  }

  async #idle(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slots) => slots.idle()));
  }

  #take(fetch: MediaFetch): void {
    if (!this.#options.api(fetch.account) || !this.#pending.add(fetch)) return;
    this.#queue({ fetch, tries: 0, since: undefined }, false);
  }

  #queue(job: Job, first: boolean): void {
    const { account, lane } = job.fetch;
    const slots = this.#slots.get(account) ?? new FairSlots(this.#options.perAccount);
    this.#slots.set(account, slots);
    slots.push(lane, () => this.#serve(job), { first });
  }

  /** One try, and what follows from it. Never rejects. */
  async #serve(job: Job): Promise<void> {
    const { store, clock } = this.#options;
    const { seq, n, account } = job.fetch;
    // Paused, it keeps its files for later, and its lane waits at another door.
    if (!this.#options.api(account)) return void this.#pending.settled(seq, n);
    const refusal = this.#options.refusal();
    if (refusal) return this.#settle(job, { error: { code: refusal.code, detail: refusal.message } });
    const begun = job.fetch.attempts + job.tries;
    if (begun >= MAX_TRIES) {
      const detail = `${begun} tries began and were cut off by the end of the process`;
      return this.#settle(job, { error: { code: "media_not_fetched", detail } });
    }
    if (!(await this.#untilStored(() => store.media.fetchBegun(seq, n)))) return;
    if (!this.#running) return;
    job.since ??= clock.monotonic();
    job.tries += 1;
    try {
      await this.#settle(job, { media: await this.#fetch(job.fetch) });
    } catch (thrown) {
      if (!this.#options.api(account)) return void this.#pending.settled(seq, n);
      if (this.#running) await this.#failed(job, coerceError(thrown));
    }
  }

  /** Throws a BridgeError, or what the caller takes for a failure that may pass. */
  async #fetch(fetch: MediaFetch): Promise<MediaFile> {
    const { files, maxBytes, clock } = this.#options;
    const { account, downloadCode, type, fileName } = fetch;
    const { tryMs } = this.#timings;
    const limit = new AbortController();
    const late = new BridgeError("media_not_fetched", `not there within ${tryMs} ms`, { retryable: true });
    const timer = setTimeout(() => limit.abort(late), tryMs);
    const signal = AbortSignal.any([limit.signal, this.#stop.signal]);
    try {
      const answer = await this.#options.api(account)?.downloadUrl(downloadCode, signal);
      signal.throwIfAborted();
      if (!answer) throw new BridgeError("account_paused", "the account is not configured any more");
      if (answer.kind !== "done") throw new ExchangeError(answer);
      const source = await this.#options.fetch(answer.url, { maxBytes, timeoutMs: tryMs, signal });
      try {
        const about = { account, origin: "inbound" as const, maxBytes, createdAt: clock.now(), type, fileName, signal };
        return await files.write(source.body, about);
      } finally {
        await source.close();
      }
    } catch (thrown) {
      // Cut off by the time limit, in whatever words.
      throw limit.signal.aborted ? late : thrown;
    } finally {
      clearTimeout(timer);
    }
  }

  async #failed(job: Job, thrown: Error): Promise<void> {
    const { logger, clock } = this.#options;
    const { fetch } = job;
    const failure = failureOf(thrown);
    if (!failure.counts) job.tries -= 1;
    const { tries } = job;
    const delay = this.#timings.delaysMs[Math.max(0, tries - 1)];
    const wait = Math.max(delay ?? 0, Math.min(failure.afterMs, MAX_PATIENCE_MS));
    const isLast =
      failure.isFinal ||
      delay === undefined ||
      fetch.attempts + tries >= MAX_TRIES ||
      clock.monotonic() - (job.since ?? 0) + wait > this.#timings.spanMs;
    const { account, seq, type } = fetch;
    const fields = { account, seq, type, tries, ...failure.error };
    if (isLast) {
      logger.warn(fields, "file not fetched");
      return this.#settle(job, { error: failure.error });
    }
    logger.info({ ...fields, inMs: wait }, "file is tried again later");
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#queue(job, true);
    }, wait);
    this.#timers.add(timer);
  }

  async #settle({ fetch }: Job, result: FetchResult): Promise<void> {
    const { seq, n } = fetch;
    if (!(await this.#untilStored(() => this.#options.store.media.fetchSettled(seq, n, result)))) return;
    const told = "media" in result ? "stored" : result.error.code;
    this.#options.metrics.mediaFetches.inc({ account: fetch.account, result: told });
    if ("media" in result) {
      const { id, bytes, mimeType } = result.media;
      this.#options.logger.debug({ account: fetch.account, seq, media: id, bytes, mimeType }, "file fetched");
    }
    if (this.#pending.settled(seq, n)) this.#options.onReady?.(fetch.lane, seq);
  }

  /** False when the bridge stops first: the fetch is unfinished then, as after a crash. */
  async #untilStored(write: () => Promise<void>): Promise<boolean> {
    for (;;) {
      try {
        await write();
        return true;
      } catch {
        // The disk watch says so, and says when it is over.
        if (!this.#running) return false;
        await this.#pause();
      }
    }
  }

  #pause(): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, this.#timings.storePauseMs);
      signal.addEventListener("abort", done);
    });
  }
}
