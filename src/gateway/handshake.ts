import type { Dispatcher } from "undici";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health, Service } from "../ops/service.ts";
import { askGateway } from "./greeting.ts";

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
 * Asks the gateway who it is, with each account's token: every 30 s while something is wrong, every 5 min while all is right.
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
  /** Asked for while it asked. */
  #again = false;
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
    if (!this.#abort) return;
    if (this.#asking) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#ask(this.#abort);
  }

  #ask(abort: AbortController): void {
    this.#asking = true;
    this.#running = this.#check(abort.signal).then((health) => {
      this.#asking = false;
      if (abort.signal.aborted) return;
      this.#note(health);
      const again = this.#again;
      this.#again = false;
      if (again) return this.#ask(abort);
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
    const { url, token, userAgent, dispatcher, insideContainer = false } = this.#options;
    const asked = { url, account, token: token(account.name), userAgent, dispatcher, insideContainer, signal };
    const { health, plugin } = await askGateway({ ...asked, timeoutMs: this.#timings.timeoutMs });
    this.#plugin = plugin ?? this.#plugin;
    return health;
  }
}
