import { type Account, deriveToken } from "./domain/account.ts";
import type { Config } from "./config.ts";
import { createDingtalkDispatcher, createWebSocketAgent } from "./dingtalk/dispatcher.ts";
import { createHttpCall } from "./dingtalk/http.ts";
import { StreamSession } from "./dingtalk/stream-session.ts";
import type { StreamTimings } from "./dingtalk/stream-timings.ts";
import { createAccountSender } from "./flows/account.ts";
import { DeadLetters } from "./flows/dead-letters.ts";
import { InboundFlow, MESSAGE_TOPIC } from "./flows/inbound.ts";
import { Messages } from "./flows/messages.ts";
import { OutboundFlow } from "./flows/outbound.ts";
import { Retention } from "./flows/retention.ts";
import { type AccountParts, accountHealth, sampleQueues, statusReport } from "./flows/status.ts";
import { GatewayClient } from "./gateway/client.ts";
import { Handshake } from "./gateway/handshake.ts";
import { createGatewayDispatcher } from "./gateway/http.ts";
import type { Grant } from "./http/auth.ts";
import { HttpServer } from "./http/server.ts";
import { type Clock, systemClock } from "./ops/clock.ts";
import { type HealthReport, reportHealth } from "./ops/health.ts";
import { DataDirectoryLock } from "./ops/lock.ts";
import type { Logger } from "./ops/logger.ts";
import { createMetrics } from "./ops/metrics.ts";
import type { Service } from "./ops/service.ts";
import { Supervisor } from "./ops/supervisor.ts";
import { LaneRunner } from "./queue/lane-runner.ts";
import { SqliteStore } from "./queue/sqlite-store.ts";

export { ConfigError, loadConfig } from "./config.ts";
export type { Config } from "./config.ts";
export { BridgeError } from "./domain/errors.ts";
export { createLogger } from "./ops/logger.ts";

/** What tests and the sandbox may change besides the configuration. */
export interface Overrides {
  logger: Logger;
  version: string;
  clock?: Clock;
  streamTimings?: Partial<StreamTimings>;
  gatewayTimings?: { probeMs: number; wrongMs: number; rightMs: number };
  insideContainer?: boolean;
}

/** The running bridge. */
export interface App {
  /** Throws BridgeError (`data_dir_locked`, `schema_newer`, `port_unavailable`, …); nothing is left running then. */
  start(): Promise<void>;
  /** Stops in order. Resolves true when nothing was in flight at the end, false when `signal` cut something off. */
  stop(options: { signal: AbortSignal }): Promise<boolean>;
  health(): HealthReport;
  /** Port of the API, once started. */
  readonly port: number | undefined;
}

const ENTRY_BACKOFF = { baseMs: 1_000, capMs: 5 * 60_000 };
const AWAY_BACKOFF = { baseMs: 1_000, capMs: 30_000 };
const MAX_ATTEMPTS = 12;
/** DingTalk's own gateway gives up after 3 s (dingtalk-protocol.md §5.3). */
const SEND_TIMEOUT_MS = 10_000;

/** The composition root: everything is built and wired here, and only here. */
export function createApp(config: Config, overrides: Overrides): App {
  const { logger } = overrides;
  let lock: DataDirectoryLock | undefined;
  let parts: Parts | undefined;
  let stopping = false;

  const close = async (): Promise<void> => {
    await parts?.close();
    lock?.release();
    lock = undefined;
  };
  return {
    async start() {
      stopping = false;
      lock = new DataDirectoryLock(config.dataDir);
      try {
        parts = build(config, overrides, () => stopping);
        await parts.supervisor.start();
      } catch (error) {
        await close();
        throw error;
      }
    },
    async stop({ signal }) {
      stopping = true;
      await parts?.supervisor.stop({ signal });
      await close();
      logger.info({ clean: !signal.aborted }, "stopped");
      return !signal.aborted;
    },
    health: () =>
      parts?.health() ?? { status: "starting", ready: false, version: overrides.version, components: {}, mends: [] },
    get port() {
      return parts?.http.port;
    },
  };
}

interface Parts {
  supervisor: Supervisor;
  http: HttpServer;
  health: () => HealthReport;
  close(): Promise<void>;
}

function build(config: Config, overrides: Overrides, stopping: () => boolean): Parts {
  const { logger, version, clock = systemClock } = overrides;
  const metrics = createMetrics();
  const userAgent = `dingtalk-bridge/${version}`;
  const accounts = new Map<string, Account>(
    config.accounts.filter(({ enabled }) => enabled).map((one) => [one.name, one]),
  );
  const token = (account: string): string => config.tokens[0] ?? derivedToken(accounts.get(account));

  const store = new SqliteStore({ directory: config.dataDir, metrics });
  if (store.interrupted > 0)
    logger.warn({ entries: store.interrupted }, "attempts were cut off by the last end; they are made again");
  const dingtalkDispatcher = createDingtalkDispatcher(config.proxy);
  const gatewayDispatcher = createGatewayDispatcher();
  const lanes = { store, clock, logger, metrics };
  const retry = {
    maxAttempts: MAX_ATTEMPTS,
    entry: ENTRY_BACKOFF,
    peerAway: AWAY_BACKOFF,
    onUncertain: "retry" as const,
  };

  const eventsUrl = new URL(config.gateway.eventsPath, config.gateway.url);
  const gateway = new GatewayClient({
    url: eventsUrl,
    token,
    timeoutMs: config.gateway.timeoutMs,
    userAgent,
    dispatcher: gatewayDispatcher,
    clock,
    logger,
    metrics,
    ...(overrides.gatewayTimings && { probeMs: overrides.gatewayTimings.probeMs }),
  });
  const inbound = new InboundFlow({
    store,
    gateway,
    account: (name) => accounts.get(name),
    webhookOrigins: [config.dingtalk.apiBase, config.dingtalk.oapiBase],
    includeRaw: config.gateway.includeRaw,
    clock,
    logger,
    metrics,
    onAppended: (lane) => inbox.changed(lane),
    onMerged: ({ from, to }) => outbox.merge(from, to),
  });
  const inbox = new LaneRunner({
    ...lanes,
    queue: "inbox",
    concurrency: config.gateway.concurrency,
    retry: { ...retry, maxAgeMs: config.inbound.maxAgeMs },
    work: (entry, signal) => inbound.deliver(entry, signal),
  });

  const call = createHttpCall({ dispatcher: dingtalkDispatcher, logger, userAgent, timeoutMs: SEND_TIMEOUT_MS });
  const webSocketAgent = createWebSocketAgent(config.proxy);
  const parts: AccountParts[] = [...accounts.values()].map((account) => ({
    name: account.name,
    robotCode: account.robotCode,
    session: new StreamSession({
      account,
      apiBase: config.dingtalk.apiBase,
      subscriptions: [{ type: "CALLBACK", topic: MESSAGE_TOPIC }],
      userAgent: `dingtalk-bridge-node/${version}`,
      dispatcher: dingtalkDispatcher,
      webSocketAgent,
      logger,
      metrics,
      clock,
      onPush: ({ frame, receivedAt }) => inbound.accept(account, frame, receivedAt),
      ...(overrides.streamTimings && { timings: overrides.streamTimings }),
    }),
  }));
  const sessions = parts.map(({ session }) => session);
  const senders = new Map(
    [...accounts.values()].map((account, index) => [
      account.name,
      createAccountSender({
        account,
        apiBase: config.dingtalk.apiBase,
        call,
        apiPerSecond: config.limits.apiPerSecond,
        clockOffset: () => sessions[index]?.clockOffset() ?? 0,
        clock,
        logger,
        metrics,
      }),
    ]),
  );
  const outbound = new OutboundFlow({
    store,
    sender: (name) => senders.get(name),
    onUncertain: config.delivery.onUncertain,
    webhookMarginMs: config.delivery.webhookMarginMs,
    clock,
    logger,
    metrics,
  });
  const messages = new Messages({
    store,
    accounts: () => [...accounts.keys()],
    clock,
    logger,
    metrics,
    onAppended: (lane) => outbox.changed(lane),
  });
  const outbox = new LaneRunner({
    ...lanes,
    queue: "outbox",
    concurrency: config.delivery.concurrency,
    retry: { ...retry, maxAgeMs: config.delivery.maxAgeMs, onUncertain: config.delivery.onUncertain },
    work: (entry, signal) => outbound.deliver(entry, signal),
    onSettled: (entry, settlement) => {
      if (settlement.state !== "open") messages.settled(entry.id);
    },
  });

  const handshake = new Handshake({
    url: eventsUrl,
    accounts: () => [...accounts.values()],
    token,
    userAgent,
    dispatcher: gatewayDispatcher,
    logger,
    metrics,
    onReady: () => {
      gateway.resume();
      inbox.retryNow();
    },
    insideContainer: overrides.insideContainer ?? false,
    ...(overrides.gatewayTimings && { timings: { ...overrides.gatewayTimings, timeoutMs: 10_000 } }),
  });

  const health = (): HealthReport =>
    reportHealth({
      version,
      services: supervisor.services,
      accounts: parts.map((account) => accountHealth(account, clock)),
      stopping: stopping(),
    });
  const http: HttpServer = new HttpServer({
    host: config.server.host,
    port: config.server.port,
    version,
    grants: () => grantsOf(config, accounts),
    messages,
    deadLetters: new DeadLetters({
      store,
      clock,
      logger,
      onReplayed: (queue, lane) => (queue === "inbox" ? inbox : outbox).changed(lane),
    }),
    health,
    status: (scope) => statusReport({ scope, version, accounts: parts, store, handshake, clock }),
    probeStore: () => void store.counts("inbox"),
    metrics,
    metricsPublic: config.metrics.public,
    sampleMetrics: () => sampleQueues(metrics, store, clock),
    logger,
  });
  const intake: Service = {
    name: "intake",
    start: () => Promise.resolve(),
    stop: () => {
      http.refuseWork();
      messages.releaseWaiters();
      return Promise.resolve();
    },
    health: () => ({ status: "ok" }),
  };
  const retention = new Retention({ store, clock, logger, keep: config.retention });
  // Stop runs this backwards: the Stream first, then the inbox, then no new API work, then the outbox.
  const supervisor: Supervisor = new Supervisor(
    [retention, http, outbox, intake, handshake, inbox, ...sessions],
    logger,
  );
  return {
    supervisor,
    http,
    health,
    async close() {
      for (const sender of senders.values()) sender.close();
      await Promise.all([dingtalkDispatcher.close(), gatewayDispatcher.close()]);
      await store.close();
    },
  };
}

function derivedToken(account: Account | undefined): string {
  return account ? deriveToken(account.appKey, account.appSecret) : "";
}

/** BRIDGE_TOKEN speaks for all accounts; without it each account's derived token speaks for its own. */
function grantsOf(config: Config, accounts: Map<string, Account>): Grant[] {
  if (config.tokens.length > 0) return config.tokens.map((token) => ({ token, scope: { account: undefined } }));
  return [...accounts.values()].map((account) => ({ token: derivedToken(account), scope: { account: account.name } }));
}
