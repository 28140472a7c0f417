import type { Account } from "../domain/account.ts";
import { BridgeError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import { createDingtalkDispatcher, createWebSocketAgent, type ProxySettings } from "../dingtalk/dispatcher.ts";
import { CallError, createHttpCall, type HttpCall } from "../dingtalk/http.ts";
import type { Subscription } from "../dingtalk/open-connection.ts";
import { OpenApi } from "../dingtalk/open-api.ts";
import { ProbeApi } from "../dingtalk/probes.ts";
import { networkFailure } from "../dingtalk/stream-failure.ts";
import { openStream } from "../dingtalk/stream.ts";
import { TokenError, TokenSource } from "../dingtalk/token.ts";
import { systemClock } from "../ops/clock.ts";
import { createLogger } from "../ops/logger.ts";
import { createMetrics } from "../ops/metrics.ts";
import { CARD_TOPIC } from "./card-actions.ts";
import { MESSAGE_TOPIC } from "./inbound.ts";

/** What the daemon subscribes to. */
export const SUBSCRIPTIONS: readonly Subscription[] = [MESSAGE_TOPIC, CARD_TOPIC].map((topic) => ({
  type: "CALLBACK",
  topic,
}));

const TIMEOUT_MS = 8_000;
const CLOSE_WAIT_MS = 1_000;

export interface DeskOptions {
  apiBase: string;
  oapiBase: string;
  proxy: ProxySettings;
  version: string;
}

/** DingTalk as one look at it needs it: nothing is kept, logged or counted. */
export class DingtalkDesk {
  readonly #options: DeskOptions;
  readonly #dispatcher: ReturnType<typeof createDingtalkDispatcher>;
  readonly #call: HttpCall;
  readonly #logger = createLogger({ level: "silent", version: "", destination: { write: () => undefined } });
  readonly #metrics = createMetrics();

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#dispatcher = createDingtalkDispatcher(options.proxy);
    this.#call = createHttpCall({
      dispatcher: this.#dispatcher,
      logger: this.#logger,
      userAgent: `dingtalk-bridge/${options.version}`,
      timeoutMs: TIMEOUT_MS,
    });
  }

  /**
   * One request to the host of `base`, whatever it answers. `date`: its clock, epoch milliseconds. Throws BridgeError
   * `stream_unreachable`, `stream_timeout` or `stream_bad_answer`, which say what failed below HTTP.
   */
  async reach(base: string, signal: AbortSignal): Promise<{ date: number | undefined }> {
    const { host } = new URL(base);
    try {
      const { headers } = await this.#call({ method: "GET", url: `${base}/`, signal });
      const date = Date.parse(headers["date"] ?? "");
      return { date: Number.isNaN(date) ? undefined : date };
    } catch (thrown) {
      if (thrown instanceof CallError && thrown.cause !== undefined && thrown.code !== "dingtalk_timeout")
        throw networkFailure(`connection to ${host}`, thrown.cause);
      throw thrown;
    }
  }

  /** What one account may do. Its token is asked for once. */
  account(account: Account): AccountDesk {
    const { apiBase } = this.#options;
    const call = this.#call;
    const tokens = new TokenSource({ account, apiBase, call, clock: systemClock, logger: this.#logger });
    const shared = { account, apiBase, call, tokens, logger: this.#logger, metrics: this.#metrics };
    const openApi = new OpenApi(shared);
    return {
      probes: new ProbeApi(shared),
      token: async (signal) => {
        await tokens.get(signal).catch((error: unknown) => {
          // Its own words begin with what the caller says anyway.
          throw error instanceof TokenError && error.cause instanceof BridgeError ? error.cause : error;
        });
      },
      connect: (signal) => this.#connect(account, signal),
      sendToUser: (staffId, text, signal) => openApi.sendToUser({ staffId, content: { type: "text", text }, signal }),
    };
  }

  /** Opens a Stream connection as the daemon does, and closes it. What is pushed meanwhile gets no ack: DingTalk sends it again. */
  async #connect(account: Account, signal: AbortSignal): Promise<{ host: string }> {
    const { apiBase, proxy, version } = this.#options;
    const opened = Promise.withResolvers<string>();
    const closed = Promise.withResolvers<void>();
    await openStream({
      apiBase,
      clientId: account.appKey,
      clientSecret: account.appSecret,
      subscriptions: SUBSCRIPTIONS,
      userAgent: `dingtalk-bridge-node/${version}`,
      dispatcher: this.#dispatcher,
      webSocketAgent: createWebSocketAgent(proxy),
      timeoutMs: TIMEOUT_MS,
      handshakeTimeoutMs: TIMEOUT_MS,
      closeWaitMs: CLOSE_WAIT_MS,
      signal,
      onOpen: (socket) => {
        opened.resolve(socket.host);
        void socket.close();
      },
      onFrame: () => undefined,
      onClose: () => closed.resolve(),
    });
    await closed.promise;
    return { host: await opened.promise };
  }

  async close(): Promise<void> {
    // What has run into its deadline may still be waiting.
    await this.#dispatcher.destroy();
  }
}

export interface AccountDesk {
  probes: ProbeApi;
  /** Throws BridgeError: `dingtalk_bad_credentials`, `dingtalk_ip_not_allowed`, `dingtalk_unreachable`, … */
  token(signal: AbortSignal): Promise<void>;
  /** Throws BridgeError as `openStream` does. */
  connect(signal: AbortSignal): Promise<{ host: string }>;
  sendToUser(staffId: string, text: string, signal: AbortSignal): Promise<Outcome>;
}
