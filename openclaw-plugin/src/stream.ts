import type { Target } from "./bridge-client.ts";
import { type Bridge, BridgeRefusal, type Json, hasId, insist, noBody, tryOnce } from "./bridge-http.ts";

export interface StreamTimings {
  /** Between two texts. Milliseconds, as the others. */
  gapMs: number;
  /** A sign of life when there is nothing new. */
  keepAliveMs: number;
  /** After a failure: a bridge that was restarted waits for a sign of life for ten seconds. */
  againMs: number;
}

const TIMINGS: StreamTimings = { gapMs: 200, keepAliveMs: 20_000, againMs: 1_000 };
/** A gateway that says nothing for so long has left the stream; the bridge then ends it. */
const IDLE_TIMEOUT_MS = 60_000;
const TRY_TIMEOUT_MS = 5_000;

export type StreamOutcome = "done" | "failed" | "aborted";

export interface StreamOptions {
  bridge: Bridge;
  target: Target;
  timings?: StreamTimings;
}

/**
 * One reply that grows (contract, "Streams"). It is opened by its first text and finished once; until then the newest text is
 * brought at most every `gapMs`, and none is waited for.
 */
export class ReplyStream {
  readonly #options: StreamOptions;
  readonly #timings: StreamTimings;
  /** `closed`: the bridge takes no more texts, but still the end. */
  #state: "new" | "opening" | "open" | "closed" | "none" | "finished" = "new";
  #id = "";
  #isCard = false;
  #read: () => string = () => "";
  #status = "";
  #isNew = false;
  #hasFailed = false;
  #seq = 0;
  #triedAt = 0;
  #opening: Promise<void> = Promise.resolve();
  #isPutting = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#timings = options.timings ?? TIMINGS;
  }

  /**
   * `read` gives the whole text so far; it is called when the text is sent. `status` says below it what is being done, in a few words. False
   * as long as nobody can see it grow.
   */
  update(read: () => string, status = ""): boolean {
    this.#read = read;
    this.#status = status;
    this.#isNew = true;
    if (this.#state === "new") {
      this.#state = "opening";
      this.#opening = this.#open();
    } else this.#schedule();
    return this.#state === "open" && this.#isCard;
  }

  /**
   * Brings it to its end and returns the id of what carries the text. Undefined when there is no stream: the text has to go as a
   * message. Repeated like a message, so it throws as one when patience ends.
   */
  async finish(text: string, outcome: StreamOutcome, more: Json = {}): Promise<string | undefined> {
    if (this.#state === "opening") await this.#opening;
    const isThere = this.#state === "open" || this.#state === "closed";
    this.#state = "finished";
    clearTimeout(this.#timer);
    if (!isThere) return undefined;
    const { bridge, target } = this.#options;
    // The target makes a message of it, once, when the bridge has ended the stream meanwhile.
    const body = (): Json => ({ text, outcome, account: bridge.account.bridgeAccount, ...target, ...more });
    try {
      const path = `/v1/streams/${this.#id}/finish`;
      return String((await insist(bridge, { method: "POST", path, body, isAnswer: hasId }))["id"]);
    } catch (error) {
      // Refused means that nothing was stored.
      if (!(error instanceof BridgeRefusal)) throw error;
      bridge.log.warn(
        `dingtalk: the stream of an answer to ${target.inReplyTo} could not be finished: ${error.message}`,
      );
      return undefined;
    }
  }

  async #open(): Promise<void> {
    const { bridge, target } = this.#options;
    const body = (): Json => ({
      account: bridge.account.bridgeAccount,
      ...target,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
    });
    const timeoutMs = TRY_TIMEOUT_MS;
    const answer = await tryOnce(bridge, {
      method: "POST",
      path: "/v1/streams",
      body,
      timeoutMs,
      isAnswer: hasId,
    }).catch((error: unknown) => ({ kind: "later" as const, reason: String(error) }));
    if (answer.kind !== "taken") {
      const reason = answer.kind === "refused" ? answer.error.message : answer.reason;
      bridge.log.info(`dingtalk: the answer to ${target.inReplyTo} comes as a whole: ${reason}`);
      if (this.#state === "opening") this.#state = "none";
      return;
    }
    this.#id = String(answer.body["id"]);
    this.#isCard = answer.body["mode"] === "card";
    this.#state = "open";
    this.#schedule();
  }

  #schedule(): void {
    if (this.#state !== "open" || this.#isPutting) return;
    const { gapMs, keepAliveMs, againMs } = this.#timings;
    const gap = this.#hasFailed ? againMs : this.#isNew ? gapMs : keepAliveMs;
    const wait = this.#seq === 0 ? 0 : Math.max(0, this.#triedAt + gap - performance.now());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#put(), wait);
  }

  async #put(): Promise<void> {
    const { bridge } = this.#options;
    this.#isPutting = true;
    this.#isNew = false;
    this.#triedAt = performance.now();
    const status = this.#status;
    const body = { seq: this.#seq, text: this.#read(), ...(status !== "" && { status }) };
    this.#seq += 1;
    const path = `/v1/streams/${this.#id}`;
    const call = { method: "PUT", path, body: (): Json => body, timeoutMs: TRY_TIMEOUT_MS, isAnswer: noBody } as const;
    const kind = await tryOnce(bridge, call).then(
      (answer) => answer.kind,
      () => "later" as const,
    );
    this.#isPutting = false;
    this.#hasFailed = kind === "later";
    if (kind === "refused" && this.#state === "open") this.#state = "closed";
    this.#schedule();
  }
}
