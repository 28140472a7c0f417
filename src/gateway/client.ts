import type { Dispatcher } from "undici";
import type { Envelope } from "../domain/envelope.ts";
import { BridgeError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type WrongSetup, readAnswer } from "./answers.ts";
import { callGateway } from "./http.ts";

export interface GatewayClientOptions {
  /** `{gateway.url}{gateway.eventsPath}`. */
  url: URL;
  /** Bearer token for an account. */
  token: (account: string) => string;
  timeoutMs: number;
  userAgent: string;
  dispatcher: Dispatcher;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** While the set-up is wrong the gateway as a whole is asked once in this time. */
  probeMs?: number;
}

const PROBE_MS = 30_000;

/** POSTs envelopes (design §5). One per daemon: the pause after a wrong set-up concerns the whole gateway. */
export class GatewayClient {
  readonly #options: GatewayClientOptions;
  readonly #probeMs: number;
  /** Monotonic time before which nothing is sent, and why. */
  #pause: { until: number; reason: WrongSetup } | undefined;

  constructor(options: GatewayClientOptions) {
    this.#options = options;
    this.#probeMs = options.probeMs ?? PROBE_MS;
  }

  /** What is wrong with the set-up, as the last POST saw it. */
  get wrongSetup(): WrongSetup | undefined {
    return this.#pause?.reason;
  }

  /** The handshake found the gateway right: ask again at once. */
  resume(): void {
    this.#pause = undefined;
  }

  async post(envelope: Envelope, signal: AbortSignal): Promise<Outcome> {
    const { clock, metrics } = this.#options;
    const paused = this.#pause && this.#pause.until - clock.monotonic();
    if (paused !== undefined && paused > 0) {
      return {
        kind: "retry",
        code: "gateway_misconfigured",
        class: "peer-away",
        afterMs: paused,
        detail: this.#pause?.reason.detail ?? "",
      };
    }
    // One probe at a time: the next caller within the window waits for what this one learns.
    if (this.#pause) this.#pause.until = clock.monotonic() + this.#probeMs;
    const stop = metrics.gatewaySeconds.startTimer();
    const outcome = await this.#post(envelope, signal);
    stop({ outcome: outcome.kind });
    return outcome;
  }

  async #post(envelope: Envelope, signal: AbortSignal): Promise<Outcome> {
    const { url, token, timeoutMs, userAgent, dispatcher, clock, logger } = this.#options;
    try {
      const answer = await callGateway({
        dispatcher,
        url,
        method: "POST",
        headers: {
          authorization: `Bearer ${token(envelope.account)}`,
          "content-type": "application/json",
          "idempotency-key": headerSafe(envelope.id),
          "x-bridge-contract": "1",
          "user-agent": userAgent,
        },
        body: JSON.stringify(envelope),
        timeoutMs,
        signal,
      });
      const { outcome, wrongSetup } = readAnswer(answer, clock.now());
      if (wrongSetup) {
        if (!this.#pause)
          logger.error({ ...wrongSetup, url: url.href }, "the gateway cannot take messages; all are kept");
        this.#pause = { until: clock.monotonic() + this.#probeMs, reason: wrongSetup };
        return outcome.kind === "retry" ? { ...outcome, afterMs: this.#probeMs } : outcome;
      }
      if (this.#pause) logger.info({ url: url.href }, "the gateway takes messages again");
      this.#pause = undefined;
      return outcome;
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      if (error.code === "interrupted") return { kind: "retry", code: "interrupted", class: "peer-away", afterMs: 0 };
      // The envelope id makes a repeat harmless, so a POST without an answer is simply tried again.
      return { kind: "retry", code: error.code, class: "peer-away", detail: error.message };
    }
  }
}

/** DingTalk's ids are visible ASCII; anything else must not break the header. */
function headerSafe(id: string): string {
  return encodeURI(id).replace(/%25/g, "%");
}
