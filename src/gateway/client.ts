import { CONTRACT, CONTRACT_HEADER } from "../domain/contract.ts";
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
}

/** POSTs envelopes (design §5). When and how often is decided by the lanes and the gateway's gate. */
export class GatewayClient {
  readonly #options: GatewayClientOptions;
  #wrongSetup: WrongSetup | undefined;

  constructor(options: GatewayClientOptions) {
    this.#options = options;
  }

  async post(envelope: Envelope, signal: AbortSignal): Promise<Outcome> {
    const { url, token, timeoutMs, userAgent, dispatcher, clock, metrics } = this.#options;
    const stop = metrics.gatewaySeconds.startTimer();
    try {
      const answer = await callGateway({
        dispatcher,
        url,
        method: "POST",
        headers: {
          authorization: `Bearer ${token(envelope.account)}`,
          "content-type": "application/json",
          "idempotency-key": headerSafe(envelope.id),
          [CONTRACT_HEADER]: String(CONTRACT),
          "user-agent": userAgent,
        },
        body: JSON.stringify(envelope),
        timeoutMs,
        signal,
      });
      const { outcome, wrongSetup } = readAnswer(answer, clock.now());
      this.#note(wrongSetup);
      stop({ outcome: outcome.kind });
      return outcome;
    } catch (error) {
      stop({ outcome: "no_answer" });
      if (!(error instanceof BridgeError)) throw error;
      if (error.code === "interrupted") return { kind: "retry", code: "interrupted", class: "peer-away", afterMs: 0 };
      // The envelope id makes a repeat harmless, so a POST without an answer is simply tried again.
      return { kind: "retry", code: error.code, class: "peer-away", detail: error.message };
    }
  }

  /** Says once that the set-up is wrong, and once that it is mended. */
  #note(wrongSetup: WrongSetup | undefined): void {
    const { logger, url } = this.#options;
    const fields = { url: url.href };
    if (wrongSetup && this.#wrongSetup?.detail !== wrongSetup.detail) {
      logger.error({ ...wrongSetup, ...fields }, "the gateway cannot take messages; all are kept");
    }
    if (!wrongSetup && this.#wrongSetup) logger.info(fields, "the gateway takes messages again");
    this.#wrongSetup = wrongSetup;
  }
}

/** DingTalk's ids are visible ASCII; anything else must not break the header. */
function headerSafe(id: string): string {
  return encodeURI(id.toWellFormed()).replace(/%25/g, "%");
}
