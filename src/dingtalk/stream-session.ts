import type { Agent } from "node:http";
import type { Dispatcher } from "undici";
import { backoffDelay } from "../domain/backoff.ts";
import { BridgeError, type ErrorCode, coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import { Transitions } from "../ops/transitions.ts";
import type { PushFrame, SystemFrame } from "./frame.ts";
import type { Subscription } from "./open-connection.ts";
import { StreamGaps } from "./stream-gap.ts";
import { StreamHealth, type StreamState } from "./stream-health.ts";
import { type LinkEnd, type StreamPush, type StreamAck, StreamLink } from "./stream-link.ts";
import { type StreamTimings, streamTimings } from "./stream-timings.ts";
import { openStream } from "./stream.ts";
import { ThrottledLog } from "./throttled-log.ts";
import { type Waiter, createWaiter } from "./waiter.ts";

export interface StreamSessionOptions {
  account: { name: string; appKey: string; appSecret: string };
  /** `https://api.dingtalk.com`, another region, or a simulator. */
  apiBase: string;
  subscriptions: readonly Subscription[];
  /** `dingtalk-bridge-node/<version>` */
  userAgent: string;
  /** Owned by the composition root; not closed here. */
  dispatcher: Dispatcher;
  /** The proxy for the WebSocket, where one is needed for this URL. The URL carries the ticket: do not log it. */
  webSocketAgent?: ((url: URL) => Agent | undefined) | undefined;
  logger: Logger;
  metrics: Metrics;
  clock: Clock;
  random?: () => number;
  /**
   * Called for each push, in the order of arrival, without waiting for the one before. Resolves when the message is
   * durable, with the ack to write; rejects when it must not be acked: DingTalk then pushes it again.
   */
  onPush: (push: StreamPush) => Promise<StreamAck>;
  /** What there is to say about a connection that is well. */
  remark?: () => Omit<Health, "status"> | undefined;
  timings?: Partial<StreamTimings>;
}

/** Failures that waiting longer does not worsen and asking sooner does not mend. */
const SLOW_RETRY: Partial<Record<ErrorCode, "credentialsRetryMs" | "ipBlockedRetryMs">> = {
  stream_bad_credentials: "credentialsRetryMs",
  stream_refused: "credentialsRetryMs",
  dingtalk_ip_not_allowed: "credentialsRetryMs",
  dingtalk_quota_exhausted: "credentialsRetryMs",
  dingtalk_ip_blocked: "ipBlockedRetryMs",
};

/**
 * The Stream connection of one account, kept alive for ever (design.md §5, item 4). One loop makes all attempts, so there
 * are never two at once. A connection is replaced by opening the next one first: only then, and while the old one drains,
 * do two exist.
 */
export class StreamSession implements Service {
  readonly name: string;
  readonly #options: StreamSessionOptions;
  readonly #timings: StreamTimings;
  readonly #logger: Logger;
  readonly #throttled: ThrottledLog;
  readonly #health: StreamHealth;
  readonly #gaps: StreamGaps;
  /** Open sockets, oldest first; at most two. */
  readonly #links = new Set<StreamLink>();
  readonly #drains = new Map<StreamLink, Promise<void>>();
  /** Starts and stops, one after another. */
  readonly #transitions = new Transitions();
  /** Of the next attempt. */
  #appSecret: string;
  #life: { waiter: Waiter; loop: Promise<void> } | undefined;
  #state: StreamState = "stopped";
  #number = 0;
  #failures = 0;
  /** DingTalk's time less our monotonic one, which nobody sets. */
  #theirs: number | undefined;
  #lastFrameAt: number | undefined;

  constructor(options: StreamSessionOptions) {
    const { account, clock, metrics } = options;
    this.name = `stream:${account.name}`;
    this.#options = options;
    this.#appSecret = account.appSecret;
    this.#timings = streamTimings(options.timings);
    this.#logger = options.logger.child({ account: account.name });
    this.#throttled = new ThrottledLog(this.#logger, clock, this.#timings.logEveryMs);
    this.#health = new StreamHealth(this.#timings.shortLives);
    this.#gaps = new StreamGaps({ account: account.name, clock, metrics, logger: this.#logger });
  }

  get state(): StreamState {
    return this.#state;
  }

  /** Epoch milliseconds of the last frame that could be read. */
  get lastFrameAt(): number | undefined {
    return this.#lastFrameAt;
  }

  /** DingTalk's clock minus ours in milliseconds, by the last frame with a time; 0 before. */
  clockOffset(): number {
    const { clock } = this.#options;
    return this.#theirs === undefined ? 0 : this.#theirs + clock.monotonic() - clock.now();
  }

  /** Connections were closed by DingTalk as soon as they were open, several in a row: as when another program holds some. */
  get isCrowded(): boolean {
    return this.#health.hint !== undefined;
  }

  hasConnectedOrFailedOnce(): boolean {
    return this.#health.known;
  }

  /** Epoch milliseconds since when nothing is connected; undefined while connected or never started. */
  downSince(): number | undefined {
    return this.#gaps.downSince();
  }

  health(): Health {
    const health = this.#health.report(this.#state, this.#links.size > 0);
    return health.status === "ok" ? { ...health, ...this.#options.remark?.() } : health;
  }

  /**
   * The app has another secret now: a connection is opened with it at once, beside the one that serves until then. That one goes on
   * should the new secret be wrong, and `health` says so.
   */
  rekey(appSecret: string): void {
    this.#appSecret = appSecret;
    this.#failures = 0;
    for (const link of this.#links) link.replace("rekeyed");
    this.#life?.waiter.wake();
  }

  /** Returns when the first attempt has begun; its result shows in `health`. */
  start(): Promise<void> {
    return this.#transitions.run(() => {
      if (this.#life !== undefined) return;
      this.#failures = 0;
      this.#health.reset();
      this.#gaps.over();
      this.#gaps.down();
      this.#options.metrics.streamConnected.set({ account: this.#options.account.name }, 0);
      const waiter = createWaiter();
      this.#life = { waiter, loop: this.#run(waiter) };
    });
  }

  /** Pushes in flight are stored and acked, then the connection is closed; when `signal` aborts it is cut. */
  stop({ signal }: { signal: AbortSignal }): Promise<void> {
    return this.#transitions.run(async () => {
      const life = this.#life;
      if (life === undefined) return;
      life.waiter.stop();
      await Promise.all([...this.#links].map((link) => link.close("stopped", { signal, refusePushes: true })));
      await life.loop;
      await Promise.all(this.#drains.values());
      this.#gaps.over();
      this.#gaps.down();
      this.#life = undefined;
      this.#state = "stopped";
      this.#logger.info("stream stopped");
    });
  }

  async #run(waiter: Waiter): Promise<void> {
    while (!waiter.stopped) {
      const link = await this.#attempt(waiter);
      if (waiter.stopped) return;
      if (typeof link === "number") {
        this.#state = "waiting";
        await waiter.wait(link);
        continue;
      }
      this.#state = "connected";
      this.#drainOthers(link, waiter);
      const end = await link.ended;
      if (waiter.stopped) return;
      this.#state = "waiting";
      await waiter.wait(this.#delayAfter(link, end));
    }
  }

  /** The new connection, or the milliseconds to wait before the next attempt. Never rejects. */
  async #attempt(waiter: Waiter): Promise<StreamLink | number> {
    // A replacement asked for while an earlier one still drains: the drained one goes first, so that two is the most.
    if (this.#links.size > 1) await this.#cutDrains();
    const { account, clock } = this.#options;
    const link = this.#newLink();
    this.#state = this.#links.size > 0 ? "replacing" : "connecting";
    this.#logger.debug({ connection: link.number }, "stream connecting");
    const began = clock.monotonic();
    const clientSecret = this.#appSecret;
    try {
      await openStream({
        apiBase: this.#options.apiBase,
        clientId: account.appKey,
        clientSecret,
        subscriptions: this.#options.subscriptions,
        userAgent: this.#options.userAgent,
        dispatcher: this.#options.dispatcher,
        webSocketAgent: this.#options.webSocketAgent,
        timeoutMs: this.#timings.openTimeoutMs,
        handshakeTimeoutMs: this.#timings.handshakeTimeoutMs,
        closeWaitMs: this.#timings.closeWaitMs,
        signal: waiter.signal,
        onOpen: (socket) => {
          link.attach(socket);
          this.#opened(link, socket.host, clock.monotonic() - began);
        },
        onFrame: (frame) => link.receive(frame),
        onClose: (close) => link.closed(close),
      });
      if (clientSecret !== this.#appSecret) link.replace("rekeyed");
      return link;
    } catch (thrown) {
      // What an old secret came to says nothing about the new one.
      if (clientSecret !== this.#appSecret && !waiter.stopped) return 0;
      return this.#failed(link.number, thrown, waiter);
    }
  }

  #newLink(): StreamLink {
    const { account, metrics, clock, onPush } = this.#options;
    this.#number += 1;
    return new StreamLink({
      account: account.name,
      number: this.#number,
      timings: this.#timings,
      clock,
      logger: this.#logger,
      metrics,
      throttled: this.#throttled,
      onPush,
      onFrame: (frame) => this.#seen(frame),
      onClosed: (link) => this.#closed(link),
    });
  }

  #opened(link: StreamLink, host: string, ms: number): void {
    const { account, metrics } = this.#options;
    this.#links.add(link);
    this.#gaps.over();
    this.#health.connected();
    metrics.streamConnects.inc({ account: account.name, result: "ok" });
    metrics.streamConnected.set({ account: account.name }, 1);
    this.#logger.info({ connection: link.number, host, ms: Math.round(ms) }, "stream connected");
  }

  #failed(number: number, thrown: unknown, waiter: Waiter): number {
    if (waiter.stopped) return 0;
    const { account, metrics } = this.#options;
    const error = asBridgeError(thrown);
    this.#failures += 1;
    this.#health.failed(error);
    metrics.streamConnects.inc({ account: account.name, result: error.code });
    if (this.#links.size === 0) this.#gaps.gap();
    const slow = SLOW_RETRY[error.code];
    const retryInMs = slow === undefined ? this.#backoff() : this.#timings[slow];
    this.#logger[error.retryable ? "warn" : "error"](
      { connection: number, code: error.code, reason: error.message, mend: error.mend, retryInMs },
      "stream not connected",
    );
    return retryInMs;
  }

  #seen(frame: SystemFrame | PushFrame): void {
    const now = this.#options.clock.now();
    this.#lastFrameAt = now;
    if (frame.time !== undefined) this.#theirs = frame.time - this.#options.clock.monotonic();
    if (frame.kind === "push") this.#health.proven();
  }

  #closed(link: StreamLink): void {
    this.#links.delete(link);
    const stopping = this.#life?.waiter.stopped === true;
    if (link.ageMs >= this.#timings.shortLifeMs) this.#health.proven();
    else if (link.pushes === 0 && (link.reason === "server" || link.reason === "error") && this.#health.shortLife()) {
      this.#logger.error(this.#health.hint, "stream accepted and closed again and again");
    }
    if (this.#links.size > 0) return;
    this.#options.metrics.streamConnected.set({ account: this.#options.account.name }, 0);
    if (stopping) this.#gaps.down();
    else this.#gaps.gap();
  }

  /** A replacement in order costs no wait, except soon after connecting; a lost connection costs at least one step. */
  #delayAfter(link: StreamLink, end: LinkEnd): number {
    if (link.ageMs >= this.#timings.healthyAfterMs) this.#failures = 0;
    if (end.kind === "replace" && end.reason === "rekeyed") return 0;
    if (end.kind === "replace" && link.ageMs >= this.#timings.replaceAtOnceAfterMs) return 0;
    this.#failures += 1;
    return this.#backoff();
  }

  #backoff(): number {
    const { backoffBaseMs: baseMs, backoffCapMs: capMs } = this.#timings;
    return backoffDelay({ baseMs, capMs }, this.#failures, this.#options.random ?? Math.random);
  }

  #drainOthers(current: StreamLink, waiter: Waiter): void {
    for (const link of this.#links) {
      if (link === current || this.#drains.has(link)) continue;
      const drain = this.#drain(link, waiter).finally(() => this.#drains.delete(link));
      this.#drains.set(link, drain);
    }
  }

  /** The server closes a connection it gave up within about 10 s; we close it then, if it has not. */
  async #drain(link: StreamLink, waiter: Waiter): Promise<void> {
    await waiter.wait(this.#timings.drainMs, link.gone);
    if (link.open) await this.#closeWithin(link, this.#timings.drainMs);
  }

  async #cutDrains(): Promise<void> {
    await Promise.all([...this.#drains.keys()].map((link) => this.#closeWithin(link, this.#timings.closeWaitMs)));
  }

  async #closeWithin(link: StreamLink, ms: number): Promise<void> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), ms);
    await link.close(link.reason, { signal: limit.signal, refusePushes: false });
    clearTimeout(timer);
  }
}

function asBridgeError(thrown: unknown): BridgeError {
  if (thrown instanceof BridgeError) return thrown;
  // Without the message: only `openStream` knows which secrets it could repeat, and it words what it expects.
  return new BridgeError("internal", `stream: unexpected ${coerceError(thrown).name}`, {
    retryable: true,
    cause: thrown,
  });
}
