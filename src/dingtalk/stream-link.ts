import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { coerceError } from "../domain/errors.ts";
import type { Frame, PushFrame, SystemFrame } from "./frame.ts";
import { quotePeer } from "./stream-failure.ts";
import { Heartbeat, type Verdict } from "./stream-heartbeat.ts";
import type { StreamClose, StreamSocket } from "./stream.ts";
import type { StreamTimings } from "./stream-timings.ts";
import type { ThrottledLog } from "./throttled-log.ts";

/** One push as the session hands it out. `receivedAt` is wall time in milliseconds. */
export interface StreamPush {
  frame: PushFrame;
  receivedAt: number;
}

/** The ack to write; without `data` the kind's usual one, without `code` 200. */
export interface StreamAck {
  code?: number;
  data?: unknown;
  /** The socket has taken it. */
  onSent?: () => void;
}

/** Why a connection should be replaced while it still lives. */
export type ReplaceReason = "disconnect" | "silent" | "max_age" | "rekeyed";
/** Why a connection ended, as the metric and the log call it. */
export type CloseReason = ReplaceReason | "dead" | "server" | "error" | "stopped";
/** What the session waits for: the connection asks for its replacement, or is gone. */
export type LinkEnd = { kind: "replace"; reason: ReplaceReason } | { kind: "closed"; reason: CloseReason };

export interface LinkOptions {
  account: string;
  number: number;
  timings: StreamTimings;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  throttled: ThrottledLog;
  onPush: (push: StreamPush) => Promise<StreamAck>;
  onFrame: (frame: Exclude<Frame, { kind: "invalid" }>) => void;
  onClosed: (link: StreamLink) => void;
}

const EXPECTED: ReadonlySet<CloseReason> = new Set<CloseReason>(["stopped", "disconnect", "max_age", "rekeyed"]);

const USUAL_ACK = {
  CALLBACK: { response: null },
  EVENT: { status: "SUCCESS", message: "OK" },
} as const;

/**
 * One connection in the session: answers what the server says, has pushes stored and acks them on the socket they came
 * from, watches its pulse. It never reconnects; it only tells (`ended`) that it should be replaced or is gone.
 */
export class StreamLink {
  readonly number: number;
  readonly ended: Promise<LinkEnd>;
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>;
  readonly #end: (end: LinkEnd) => void;
  readonly #leave: () => void;
  readonly #cut = new AbortController();
  readonly #options: LinkOptions;
  readonly #inFlight = new Set<Promise<void>>();
  #socket: StreamSocket | undefined;
  #heartbeat: Heartbeat | undefined;
  #reason: CloseReason | undefined;
  #closing: Promise<void> | undefined;
  #takesPushes = true;
  #pushes = 0;
  #open = false;
  #openedAt = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.number = options.number;
    const ended = Promise.withResolvers<LinkEnd>();
    this.ended = ended.promise;
    this.#end = ended.resolve;
    const gone = Promise.withResolvers<void>();
    this.gone = gone.promise;
    this.#leave = gone.resolve;
  }

  get open(): boolean {
    return this.#open;
  }

  get pushes(): number {
    return this.#pushes;
  }

  get reason(): CloseReason {
    return this.#reason ?? "server";
  }

  get ageMs(): number {
    return this.#options.clock.monotonic() - this.#openedAt;
  }

  /** The socket is open; no frame of it was read yet. */
  attach(socket: StreamSocket): void {
    this.#socket = socket;
    this.#open = true;
    this.#openedAt = this.#options.clock.monotonic();
    this.#heartbeat = new Heartbeat(socket, this.#options.timings, this.#options.clock, (verdict) =>
      this.#judged(verdict),
    );
    this.#heartbeat.start();
  }

  receive(frame: Frame): void {
    this.#heartbeat?.frame(frame.kind === "system");
    const { account, metrics } = this.#options;
    metrics.streamFrames.inc({ account, type: frame.kind === "push" ? frame.type.toLowerCase() : frame.kind });
    if (frame.kind === "invalid") {
      metrics.streamInvalid.inc({ account, reason: frame.reason });
      this.#options.throttled.warn(
        `frame:${frame.reason}`,
        { connection: this.number, reason: frame.reason },
        "frame that cannot be used",
      );
      // As DingTalk's Go SDK answers what it does not handle (dingtalk-protocol.md §1.6): it would come again otherwise.
      if (frame.messageId !== undefined) this.#reply(frame.messageId, USUAL_ACK.CALLBACK, 404);
      return;
    }
    this.#options.onFrame(frame);
    if (frame.kind === "system") this.#system(frame);
    else this.#push(frame);
  }

  /** The socket ended, whoever ended it. */
  closed(close: StreamClose): void {
    if (!this.#open) return;
    this.#open = false;
    this.#heartbeat?.stop();
    const { account, logger, metrics } = this.#options;
    this.#reason ??= close.error === undefined ? "server" : "error";
    const reason = this.#reason;
    metrics.streamCloses.inc({ account, reason });
    const expected = EXPECTED.has(reason);
    logger[expected ? "info" : "warn"](
      {
        connection: this.number,
        reason,
        code: close.code,
        said: close.reason,
        error: close.error,
        lifeSeconds: Math.round(this.ageMs / 1000),
        pushes: this.#pushes,
      },
      "stream closed",
    );
    this.#options.onClosed(this);
    this.#leave();
    this.#end({ kind: "closed", reason });
  }

  /**
   * Ends the connection in order: pushes in flight are finished and acked, then the socket is closed; when `signal` aborts,
   * the socket is cut instead. With `refusePushes` nothing new is taken meanwhile. May be called again, with a shorter
   * signal. Resolves when the socket is closed; never rejects.
   */
  async close(reason: CloseReason, options: { signal: AbortSignal; refusePushes: boolean }): Promise<void> {
    this.#reason ??= reason;
    if (options.refusePushes) this.#takesPushes = false;
    const onAbort = () => {
      this.#cut.abort();
      this.#socket?.terminate();
    };
    options.signal.addEventListener("abort", onAbort, { once: true });
    if (options.signal.aborted) onAbort();
    this.#closing ??= this.#finish();
    await this.#closing;
    options.signal.removeEventListener("abort", onAbort);
  }

  async #finish(): Promise<void> {
    while (this.#open && this.#inFlight.size > 0 && !this.#cut.signal.aborted) {
      await unlessAborted(Promise.allSettled(this.#inFlight), this.#cut.signal);
    }
    this.#heartbeat?.stop();
    await this.#socket?.close();
  }

  #system(frame: SystemFrame): void {
    if (frame.topic === "ping") this.#reply(frame.messageId, frame.data, 200);
    if (frame.topic !== "disconnect") return;
    if (frame.messageId !== undefined) this.#reply(frame.messageId, frame.data, 200);
    this.#options.logger.info(
      { connection: this.number, said: quotePeer(frame.data, [], 120) },
      "stream: the server asks for another connection",
    );
    this.replace("disconnect");
  }

  #push(frame: PushFrame): void {
    const { account, metrics, timings, throttled } = this.#options;
    const refused = this.#takesPushes ? this.#inFlight.size >= timings.maxInFlight && "overload" : "stopping";
    if (refused !== false) {
      metrics.acksFailed.inc({ account, reason: refused });
      throttled.warn(
        `push:${refused}`,
        { connection: this.number, reason: refused },
        "push left for DingTalk to repeat",
      );
      return;
    }
    this.#pushes += 1;
    const work: Promise<void> = this.#store(frame).finally(() => this.#inFlight.delete(work));
    this.#inFlight.add(work);
  }

  /** Never rejects: a push that cannot be stored gets no ack, and DingTalk pushes it again (dingtalk-protocol.md §1.7). */
  async #store(frame: PushFrame): Promise<void> {
    const { account, clock, metrics, onPush, throttled } = this.#options;
    const began = clock.monotonic();
    try {
      const ack = await onPush({ frame, receivedAt: clock.now() });
      const sent = this.#reply(frame.messageId, ack.data ?? USUAL_ACK[frame.type], ack.code ?? 200);
      if (!sent) return;
      metrics.ackSeconds.observe({ account }, (clock.monotonic() - began) / 1000);
      ack.onSent?.();
    } catch (error) {
      metrics.acksFailed.inc({ account, reason: "not_stored" });
      const { message } = coerceError(error);
      throttled.warn("push:not_stored", { connection: this.number, error: message }, "push not stored, not acked");
    }
  }

  /** Whether the socket took it. */
  #reply(messageId: string | undefined, data: unknown, code: number): boolean {
    let taken = true;
    const done = (failure?: "closed" | "write"): void => {
      if (failure === undefined) return;
      taken = false;
      this.#options.metrics.acksFailed.inc({ account: this.#options.account, reason: failure });
      this.#options.throttled.warn(`ack:${failure}`, { connection: this.number, reason: failure }, "ack not written");
    };
    if (this.#socket === undefined) done("closed");
    else this.#socket.reply(messageId, data, code, done);
    return taken;
  }

  #judged(verdict: Verdict): void {
    if (verdict === "dead") {
      this.#reason ??= "dead";
      this.#socket?.terminate();
    } else {
      this.replace(verdict === "silent" ? "silent" : "max_age");
    }
  }

  /** Asks for another connection in its place, and serves on until that is there. */
  replace(reason: ReplaceReason): void {
    this.#reason ??= reason;
    this.#end({ kind: "replace", reason });
  }
}

async function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const onAbort = () => aborted.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  await Promise.race([work, aborted.promise]);
  signal.removeEventListener("abort", onAbort);
}
