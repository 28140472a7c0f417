import type { Dispatcher } from "undici";
import { CONTRACT, CONTRACT_HEADER, CONTRACT_MEND } from "../domain/contract.ts";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import { PLUGIN_MEND, SERVICE_MEND, TOKEN_MEND, parseObject } from "./answers.ts";
import { callGateway } from "./http.ts";

export interface HandshakeOptions {
  url: URL;
  accounts: () => { name: string; appKey: string }[];
  token: (account: string) => string;
  userAgent: string;
  dispatcher: Dispatcher;
  logger: Logger;
  metrics: Metrics;
  /** Told when the gateway becomes right after it was not. */
  onReady: () => void;
  /** Inside a container a refused loopback address has a mend of its own. */
  insideContainer?: boolean;
  timings?: { wrongMs: number; rightMs: number; timeoutMs: number };
}

const TIMINGS = { wrongMs: 30_000, rightMs: 5 * 60_000, timeoutMs: 10_000 };

/**
 * Asks the gateway who it is: `GET {eventsPath}` with each account's token. Only JSON counts, because OpenClaw answers
 * unknown paths with a page of HTML and 200. Every 30 s while something is wrong, every 5 min while all is right.
 */
export class Handshake implements Service {
  readonly name = "gateway";
  readonly #options: HandshakeOptions;
  readonly #timings: { wrongMs: number; rightMs: number; timeoutMs: number };
  #health: Health = { status: "starting" };
  #plugin: { name: string; version: string; host: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #asking = false;
  #abort: AbortController | undefined;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#timings = options.timings ?? TIMINGS;
  }

  async start(): Promise<void> {
    if (this.#abort) return;
    this.#abort = new AbortController();
    this.#ask(this.#abort);
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    clearTimeout(this.#timer);
    await this.#running;
  }

  health(): Health {
    return this.#health;
  }

  /** The plugin as it named itself, once it has. */
  get plugin(): { name: string; version: string; host: string } | undefined {
    return this.#plugin;
  }

  /** A POST found the gateway away: look at once, so that health does not stay right for minutes. */
  askNow(): void {
    if (!this.#abort || this.#asking) return;
    clearTimeout(this.#timer);
    this.#ask(this.#abort);
  }

  #ask(abort: AbortController): void {
    this.#asking = true;
    this.#running = this.#check(abort.signal).then((health) => {
      this.#asking = false;
      if (abort.signal.aborted) return;
      this.#note(health);
      const wait = health.status === "ok" ? this.#timings.rightMs : this.#timings.wrongMs;
      this.#timer = setTimeout(() => this.#ask(abort), wait);
    });
  }

  #note(health: Health): void {
    const { logger, metrics, onReady } = this.#options;
    const before = this.#health;
    this.#health = health;
    metrics.gatewayReady.set(health.status === "ok" ? 1 : 0);
    if (health.status === "ok") {
      if (before.status !== "ok") {
        logger.info({ plugin: this.#plugin, url: this.#options.url.href }, "gateway ready");
        onReady();
      }
    } else if (before.code !== health.code || before.detail !== health.detail) {
      logger.warn({ ...health, url: this.#options.url.href }, `gateway not ready: ${health.detail}; ${health.mend}`);
    }
  }

  async #check(signal: AbortSignal): Promise<Health> {
    const accounts = this.#options.accounts();
    const problems: Health[] = [];
    for (const account of accounts) {
      const health = await this.#checkAccount(account, signal);
      if (health.status === "ok") continue;
      problems.push(health);
      // What concerns the whole gateway is the same for every account.
      if (health.code !== "account") break;
    }
    return problems[0] ?? { status: "ok" };
  }

  async #checkAccount(account: { name: string; appKey: string }, signal: AbortSignal): Promise<Health> {
    const { url, token, userAgent, dispatcher } = this.#options;
    try {
      const answer = await callGateway({
        dispatcher,
        url,
        method: "GET",
        headers: {
          authorization: `Bearer ${token(account.name)}`,
          accept: "application/json",
          [CONTRACT_HEADER]: String(CONTRACT),
          "user-agent": userAgent,
        },
        timeoutMs: this.#timings.timeoutMs,
        signal,
      });
      const body = /json/i.test(answer.contentType) ? parseObject(answer.body) : undefined;
      if (answer.status === 401 || answer.status === 403) {
        return wrong("gateway_token", `the gateway refuses the token of account ${account.name}`, TOKEN_MEND);
      }
      if (answer.status >= 400 && body?.["code"] === "unsupported_version") {
        const detail = `the plugin refuses contract ${CONTRACT} of this bridge: ${word(body["detail"])}`;
        return wrong("contract_version", detail, CONTRACT_MEND);
      }
      if (answer.status >= 500)
        return wrong(
          "gateway_unavailable",
          `the gateway answers ${answer.status}`,
          "wait, or look at the gateway's log",
        );
      if (answer.status !== 200 || !body || body["contract"] === undefined) {
        return wrong("plugin_missing", `no channel plugin at ${url.pathname}`, PLUGIN_MEND);
      }
      return this.#readGreeting(account, body);
    } catch (thrown) {
      return this.#unreachable(coerceError(thrown));
    }
  }

  #readGreeting(account: { name: string; appKey: string }, body: Record<string, unknown>): Health {
    if (body["contract"] !== CONTRACT) {
      const theirs = JSON.stringify(body["contract"]);
      return wrong("contract_version", `the plugin speaks contract ${theirs}, this bridge ${CONTRACT}`, CONTRACT_MEND);
    }
    this.#plugin = { name: word(body["name"]), version: word(body["version"]), host: word(body["host"]) };
    const theirs = Array.isArray(body["accounts"]) ? (body["accounts"] as unknown[]) : [];
    const match = theirs.filter(isRecord).find((one) => one["appKey"] === account.appKey);
    if (!match) {
      const ids = theirs.filter(isRecord).map((one) => word(one["id"]));
      return wrong(
        "account",
        `the plugin has no account with the App Key of ${account.name} (it has: ${ids.join(", ") || "none"})`,
        "set the same App Key in channels.dingtalk of the gateway's openclaw.json",
      );
    }
    if (match["enabled"] === false) {
      return wrong(
        "account",
        `account ${account.name} is disabled in the plugin`,
        "set channels.dingtalk.enabled (or the account's enabled) to true",
      );
    }
    return { status: "ok" };
  }

  #unreachable(error: Error): Health {
    const { url, insideContainer } = this.#options;
    const code = error instanceof BridgeError ? error.code : "gateway_unreachable";
    const mend =
      insideContainer && /^(localhost|127\.|\[::1\])/.test(url.hostname)
        ? "start the gateway; if it runs outside this container, use network_mode: host or set BRIDGE_GATEWAY_URL to the host's name, because a loopback address is the container itself"
        : `start the gateway, or: ${SERVICE_MEND}`;
    return wrong(code, `${error.message} (${url.origin})`, mend);
  }
}

const wrong = (code: string, detail: string, mend: string): Health => ({ status: "degraded", code, detail, mend });
const word = (value: unknown): string => (typeof value === "string" ? value.slice(0, 100) : "");
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
