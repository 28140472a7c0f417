import { buildAccounts } from "./compose-accounts.ts";
import { buildIndicator } from "./compose-indicator.ts";
import { buildMedia, publicUrlOf } from "./compose-media.ts";
import { buildOperator } from "./compose-operator.ts";
import type { Overrides } from "./compose-overrides.ts";
import { type ReloadReport, buildReload } from "./compose-reload.ts";
import { AWAY_BACKOFF, RETRY } from "./compose-retry.ts";
import { buildSending } from "./compose-sending.ts";
import { buildStreams } from "./compose-streams.ts";
import { grantsOf, tokenFor } from "./compose-tokens.ts";
import { buildWatches } from "./compose-watches.ts";
import type { Config } from "./config.ts";
import { createDingtalkDispatcher } from "./dingtalk/dispatcher.ts";
import { GatewayCalls } from "./flows/gateway-calls.ts";
import { InboundFlow, heldTogether } from "./flows/inbound.ts";
import { Messages } from "./flows/messages.ts";
import { Notices } from "./flows/notices.ts";
import { OutboundFlow, answered } from "./flows/outbound.ts";
import { QuotaGovernor } from "./flows/quota.ts";
import { Pacing } from "./flows/pacing.ts";
import { PersonLimit } from "./flows/person-limit.ts";
import { Recall } from "./flows/recall.ts";
import { Retention } from "./flows/retention.ts";
import { accountHealth, sampleGauges, statusReport } from "./flows/status.ts";
import { GatewayClient } from "./gateway/client.ts";
import { Handshake } from "./gateway/handshake.ts";
import { createGatewayDispatcher } from "./gateway/http.ts";
import { HttpServer } from "./http/server.ts";
import { ClockWatch } from "./ops/clock-watch.ts";
import { systemClock } from "./ops/clock.ts";
import { DiskWatch } from "./ops/disk.ts";
import { type HealthReport, reportHealth } from "./ops/health.ts";
import { createMetrics } from "./ops/metrics.ts";
import type { Service } from "./ops/service.ts";
import { Supervisor } from "./ops/supervisor.ts";
import { Gate } from "./queue/gate.ts";
import { LaneRunner } from "./queue/lane-runner.ts";
import { SqliteStore } from "./queue/sqlite-store.ts";
import { splitLane } from "./queue/store.ts";

/** Attempts in a row without an answer before the gateway counts as away. */
const GATEWAY_FAILURES = 5;
/** OpenClaw's own session queue keeps 20 messages, then drops the oldest; direct messages share one session. */
const HELD_PER_LANE = 5;
const HELD_DIRECT_PER_ACCOUNT = 15;

/** All that runs, wired. */
export interface Parts {
  supervisor: Supervisor;
  http: HttpServer;
  health: () => HealthReport;
  reload: (next: Config) => Promise<ReloadReport>;
  /** Attempts that run, by queue. */
  underWay: () => Record<"inbox" | "outbox", number>;
  close(): Promise<void>;
}

/** Builds and wires everything, and starts nothing. The store is opened: `close` it. */
export function build(config: Config, overrides: Overrides, stopping: () => boolean): Parts {
  const { logger, version, clock = systemClock } = overrides;
  const metrics = createMetrics();
  if (overrides.processMetrics) metrics.collectProcess();
  const userAgent = `dingtalk-bridge/${version}`;
  // Changed in place when the settings are read again.
  const limits: Config["limits"] = { ...config.limits };
  const token = (account: string): string => tokenFor(config, accounts.find(account));

  const store = new SqliteStore({ directory: config.dataDir, metrics, wipeSettled: config.retention.messagesMs === 0 });
  if (store.interrupted > 0)
    logger.warn({ entries: store.interrupted }, "attempts were cut off by the last end; they are made again");
  const disk = new DiskWatch({
    directory: config.dataDir,
    minFreeMb: config.disk.minFreeMb,
    store,
    logger,
    metrics,
    ...overrides.watch,
  });
  const dingtalkDispatcher = createDingtalkDispatcher(config.proxy);
  const toDingtalk = { dispatcher: dingtalkDispatcher, userAgent };
  const accounts = buildAccounts({
    ...toDingtalk,
    config,
    overrides,
    limits,
    store,
    onPush: (account, frame, receivedAt) => inbound.accept(account, frame, receivedAt),
    observe: (account, name, outcome) => quota.observe(account, name, outcome),
    onGate: (open) => {
      if (open) outbox.retryNow();
    },
    onDoors: (account) => {
      for (const queue of [inbox, outbox]) queue.doorsChanged((lane) => splitLane(lane).account === account);
    },
    onAdded: (account) => media.fetcher.resumed(account),
    remark: (account) => silence.remark(account),
    clock,
    metrics,
  });
  const sender = (name: string) => accounts.sender(name);
  const quota = new QuotaGovernor({
    quota: config.quota,
    store: store.quota,
    accounts: () => accounts.configs(),
    clock,
    logger,
    metrics,
  });
  const gatewayDispatcher = createGatewayDispatcher();
  const lanes = { store, clock, logger, metrics };
  const media = buildMedia({
    ...lanes,
    ...toDingtalk,
    config,
    accounts: () => accounts.names(),
    disk,
    quota,
    api: (name) => sender(name)?.media,
    onReady: (lane, seq) => inbox.hurry(lane, seq),
    fetchTimings: overrides.mediaTimings,
  });
  const publicUrl = (): string => publicUrlOf(config.server, http.port ?? config.server.port);
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
  });
  const gatewayGate = new Gate({
    name: "gateway",
    failures: GATEWAY_FAILURES,
    cooldown: overrides.gatewayCooldown ?? AWAY_BACKOFF,
    concurrency: config.gateway.concurrency,
    // Waiting does not mend a wrong set-up, and one probe tells as much as many.
    shutsAtOnce: (outcome) => outcome.kind === "retry" && outcome.code === "gateway_misconfigured",
    logger,
    onChange: (open) => {
      if (open) inbox.retryNow();
      else handshake.askNow();
    },
  });
  const inbound = new InboundFlow({
    store,
    gateway: {
      post: (envelope, signal, lane) => gatewayGate.observe(() => gateway.post(envelope, signal), lane),
    },
    account: (name) => accounts.find(name),
    webhookOrigins: [config.dingtalk.apiBase, config.dingtalk.oapiBase],
    includeRaw: config.gateway.includeRaw,
    media: media.fetcher,
    publicUrl,
    stopWords: config.inbound.stopWords.map((word) => word.toLowerCase()),
    persons: new PersonLimit({
      store,
      get perDay() {
        return limits.perPersonPerDay;
      },
      get exempt() {
        return limits.exempt;
      },
      clock,
    }),
    notices: {
      overQuota: (conversation) => notices.overQuota(conversation),
      personLimit: (conversation, sender) => notices.personLimit(conversation, sender),
    },
    refusal: () => disk.refusal("acks"),
    quota,
    clock,
    logger,
    metrics,
    onAppended: (lane) => inbox.changed(lane),
    onMerged: (lanes) => {
      outbox.merge(lanes.from, lanes.to);
      streams.merged(lanes);
    },
  });
  const inbox = new LaneRunner({
    ...lanes,
    queue: "inbox",
    concurrency: config.gateway.concurrency,
    retry: { ...RETRY, maxAgeMs: config.inbound.maxAgeMs },
    gate: (lane) => accounts.door(lane) ?? media.fetcher.admission(lane) ?? gatewayGate,
    held: {
      perLane: HELD_PER_LANE,
      perGroup: HELD_DIRECT_PER_ACCOUNT,
      group: heldTogether(store),
    },
    work: (entry, signal) => inbound.deliver(entry, signal),
  });

  const pacing = new Pacing({
    get perSecond() {
      return limits.conversationPerSecond;
    },
    get groupPerMinute() {
      return limits.groupPerMinute;
    },
    now: () => clock.monotonic(),
  });
  const sending = buildSending({ ...lanes, media, publicUrl, apiPerSecond: limits.apiPerSecond });
  const outbound = new OutboundFlow({
    ...sending,
    ...lanes,
    pacing,
    sender,
    onUncertain: config.delivery.onUncertain,
    webhookMarginMs: config.delivery.webhookMarginMs,
    quota,
  });
  outbound.seedPacing();
  const messages = new Messages({
    store,
    accounts: () => accounts.names(),
    clock,
    logger,
    metrics,
    onAppended: (lane) => outbox.changed(lane),
    refusal: () => disk.refusal("api"),
    bounds: limits,
    recall: new Recall({ ...lanes, sender }),
    publicUrl,
  });
  const notices = new Notices({
    store,
    messages,
    language: config.language,
    enabled: config.notices,
    awayAfterMs: config.notices.awayAfterMs,
    gatewayAway: () => gatewayGate.shutSince !== undefined,
    isHeld: (lane) => inbox.isHeld(lane),
    affordable: (account) => quota.affordable(account),
    clock,
    logger,
  });
  const account = (name: string) => accounts.find(name);
  const replies = { ...lanes, config, account, sender, quota, pacing, disk, publicUrl };
  const indicator = buildIndicator({ ...replies, alarm: overrides.indicatorAlarm });
  const streams = buildStreams({
    ...replies,
    accounts: () => accounts.names(),
    messages,
    indicator,
    onAppended: (lane) => outbox.changed(lane),
    hurry: (lane, seq) => outbox.hurry(lane, seq),
    timings: overrides.replyTimings,
  });
  const outbox = new LaneRunner({
    ...lanes,
    queue: "outbox",
    concurrency: config.delivery.concurrency,
    retry: {
      ...RETRY,
      maxAgeMs: config.delivery.maxAgeMs,
      maxAgeOf: (entry) => streams.longestEnd(entry),
      onUncertain: config.delivery.onUncertain,
    },
    gate: (lane) => accounts.door(lane) ?? streams.admission(lane) ?? outbound.admission(lane),
    about: answered,
    work: async (entry, signal) => (await streams.deliver(entry, signal)) ?? outbound.deliver(entry, signal),
    onSettled: (entry, settlement) => {
      if (settlement.state !== "open") {
        messages.settled(entry.id);
        streams.outboxSettled(entry);
      }
      if (settlement.state === "delivered") indicator.delivered(entry);
      if (settlement.state === "dead") notices.givenUp(entry, settlement.error.code);
    },
  });

  const handshake = new Handshake({
    url: eventsUrl,
    accounts: () => accounts.configs(),
    token,
    userAgent,
    dispatcher: gatewayDispatcher,
    logger,
    metrics,
    onReady: () => {
      gatewayGate.probeNow();
    },
    insideContainer: overrides.insideContainer ?? false,
    ...(overrides.gatewayTimings && { timings: { ...overrides.gatewayTimings, timeoutMs: 10_000 } }),
  });

  const watched = { accounts: () => accounts.list(), messages, gate: gatewayGate, handshake, quota };
  const { lag, silence, alerts } = buildWatches({ ...lanes, ...watched, config, overrides });
  const calls = new GatewayCalls(clock);
  const gates = () => [
    { account: undefined, gate: gatewayGate },
    ...accounts
      .list()
      .flatMap(({ name, sender }) => Object.values(sender.gates).map((gate) => ({ account: name, gate }))),
  ];
  const health = (): HealthReport =>
    reportHealth({
      version,
      services: [...services, ...accounts.parts()],
      accounts: accounts.list().map((account) => accountHealth(account, clock)),
      stopping: stopping(),
    });
  const http: HttpServer = new HttpServer({
    host: config.server.host,
    port: config.server.port,
    version,
    grants: () => grantsOf(config, accounts.configs()),
    onGatewayCall: (scope) => calls.note(scope),
    messages,
    streams,
    activity: indicator,
    media: media.uploads,
    ...buildOperator({
      ...lanes,
      config,
      files: media.files,
      changed: (queue, lane) => (queue === "inbox" ? inbox : outbox).changed(lane),
      cancelled: (id) => messages.settled(id),
    }),
    health,
    status: (scope) =>
      statusReport({ scope, version, accounts, store, handshake, quota, streams, lag, calls, gates: gates(), clock }),
    probeStore: () => void store.counts("inbox"),
    metrics,
    metricsPublic: config.metrics.public,
    sampleMetrics: () => {
      sampleGauges(metrics, { store, accounts: accounts.list(), streams, clock });
      quota.sample();
    },
    logger,
  });
  const intake: Service = {
    name: "intake",
    start: () => Promise.resolve(),
    stop: () => {
      http.refuseWork();
      messages.releaseWaiters();
      sending.media.stopFetching();
      return Promise.resolve();
    },
    health: () => ({ status: "ok" }),
  };
  const clockOffsets = (): number[] => accounts.list().map(({ session }) => session.clockOffset());
  const retention = new Retention({ store, clock, logger, keep: config.retention, clockOffsets });
  const clockWatch = new ClockWatch({
    clock,
    logger,
    metrics,
    onStep: async () => {
      await Promise.all([inbox.clockStepped(), outbox.clockStepped()]);
    },
    ...(overrides.watch?.everyMs !== undefined && { everyMs: overrides.watch.everyMs }),
  });
  const base = [quota, disk, ...media.services, clockWatch, retention, lag, silence, indicator];
  // Stop runs this backwards: the Stream first, then the inbox, then no new API work, then the outbox.
  const services: Service[] = [...base, http, notices, alerts, outbox, streams, intake, handshake, inbox];
  const supervisor = new Supervisor([...services, accounts], logger);
  return {
    supervisor,
    http,
    health,
    reload: buildReload({ config, limits, accounts, resizable: [media, sending], handshake, logger }),
    underWay: () => ({ inbox: inbox.underWay, outbox: outbox.underWay }),
    async close() {
      accounts.close();
      gatewayGate.close();
      pacing.close();
      await media.close();
      await Promise.all([dingtalkDispatcher.close(), gatewayDispatcher.close()]);
      await store.close();
    },
  };
}
