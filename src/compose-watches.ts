import type { Overrides } from "./compose-overrides.ts";
import type { Config } from "./config.ts";
import type { ErrorCode } from "./domain/errors.ts";
import { Alerts } from "./flows/alerts.ts";
import { LagWatch } from "./flows/lag.ts";
import type { Messages } from "./flows/messages.ts";
import type { QuotaGovernor } from "./flows/quota.ts";
import { SilenceWatch } from "./flows/silence.ts";
import type { AccountParts } from "./flows/status.ts";
import type { Handshake } from "./gateway/handshake.ts";
import type { Clock } from "./ops/clock.ts";
import type { Logger } from "./ops/logger.ts";
import type { Metrics } from "./ops/metrics.ts";
import type { Gate } from "./queue/gate.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** What looks from time to time whether an operator should know something, wired. */
export function buildWatches(wiring: {
  config: Config;
  overrides: Overrides;
  store: SqliteStore;
  /** Those of now. */
  accounts: () => readonly (AccountParts & { sender: { tokenFailure(): ErrorCode | undefined } })[];
  messages: Messages;
  gate: Gate;
  handshake: Handshake;
  quota: QuotaGovernor;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}): { lag: LagWatch; silence: SilenceWatch; alerts: Alerts } {
  const { config, overrides, accounts, gate, handshake, quota } = wiring;
  const { to, gatewayAwayAfterMs, ...enabled } = config.alerts;
  const alerts = new Alerts({
    ...wiring,
    to,
    enabled,
    language: config.language,
    gatewayAwayAfterMs,
    tokenFailure: (account) =>
      accounts()
        .find(({ name }) => name === account)
        ?.sender.tokenFailure(),
    gateway: () => ({ shut: gate.shutSince !== undefined, health: handshake.health() }),
    quota: () => quota.report(),
    affordable: (account) => quota.affordable(account),
    everyMs: overrides.alertsEveryMs,
  });
  const { lagEveryMs } = overrides;
  return {
    lag: new LagWatch({ ...wiring, ...(lagEveryMs !== undefined && { everyMs: lagEveryMs }) }),
    silence: new SilenceWatch({ ...wiring, ...overrides.silence }),
    alerts,
  };
}
