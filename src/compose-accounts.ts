import { Accounts } from "./accounts.ts";
import type { Overrides } from "./compose-overrides.ts";
import type { AccountConfig, Config } from "./config-types.ts";
import { createWebSocketAgent } from "./dingtalk/dispatcher.ts";
import { createHttpCall } from "./dingtalk/http.ts";
import { StreamSession, type StreamSessionOptions } from "./dingtalk/stream-session.ts";
import type { Account } from "./domain/account.ts";
import { type AccountSenderOptions, createAccountSender } from "./flows/account.ts";
import { CARD_TOPIC } from "./flows/card-actions.ts";
import { type InboundFlow, MESSAGE_TOPIC } from "./flows/inbound.ts";
import type { Clock } from "./ops/clock.ts";
import type { Metrics } from "./ops/metrics.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** DingTalk's own gateway gives up after 3 s (dingtalk-protocol.md §5.3). */
const SEND_TIMEOUT_MS = 10_000;

/** The accounts and, for each, its connection and its sender, wired. */
export function buildAccounts(wiring: {
  config: Config;
  overrides: Overrides;
  /** Those of now. */
  limits: Readonly<Config["limits"]>;
  store: Pick<SqliteStore, "openOf">;
  /** To DingTalk. */
  dispatcher: StreamSessionOptions["dispatcher"];
  userAgent: string;
  onPush: InboundFlow["accept"];
  observe: (account: string, ...observed: Parameters<AccountSenderOptions["observe"]>) => void;
  onGate: (open: boolean) => void;
  onDoors: (account: string) => void;
  onAdded: (account: string) => void;
  remark: (account: string) => ReturnType<NonNullable<StreamSessionOptions["remark"]>>;
  clock: Clock;
  metrics: Metrics;
}): Accounts {
  const { config, overrides, limits, store, dispatcher, userAgent, clock, metrics } = wiring;
  const { logger, version } = overrides;
  const call = createHttpCall({ dispatcher, logger, userAgent, timeoutMs: SEND_TIMEOUT_MS });
  const webSocketAgent = createWebSocketAgent(config.proxy);
  const common = { dispatcher, logger, metrics, clock };
  const connect = (account: Account): StreamSession =>
    new StreamSession({
      ...common,
      account,
      apiBase: config.dingtalk.apiBase,
      subscriptions: [MESSAGE_TOPIC, CARD_TOPIC].map((topic) => ({ type: "CALLBACK", topic })),
      userAgent: `dingtalk-bridge-node/${version}`,
      webSocketAgent,
      onPush: ({ frame, receivedAt }) => wiring.onPush(account, frame, receivedAt),
      remark: () => wiring.remark(account.name),
      ...(overrides.streamTimings && { timings: overrides.streamTimings }),
    });
  return new Accounts({
    accounts: config.accounts,
    make: (account: AccountConfig) => {
      const session = connect(account);
      const sender = createAccountSender({
        ...common,
        account,
        ...config.dingtalk,
        userAgent,
        call,
        apiPerSecond: limits.apiPerSecond,
        cardPerSecond: limits.cardPerSecond,
        clockOffset: () => session.clockOffset(),
        observe: (name, outcome) => wiring.observe(account.name, name, outcome),
        onGate: wiring.onGate,
      });
      return { name: account.name, robotCode: account.robotCode, session, sender };
    },
    open: (account) => store.openOf(account),
    onDoors: wiring.onDoors,
    onAdded: wiring.onAdded,
    onRemoved: (account) => metrics.streamConnected.remove({ account }),
    logger,
  });
}
