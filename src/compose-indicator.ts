import type { Config } from "./config.ts";
import type { AccountSender } from "./flows/account.ts";
import { type Alarm, Indicator } from "./flows/indicator.ts";
import type { QuotaGovernor } from "./flows/quota.ts";
import type { Clock } from "./ops/clock.ts";
import type { Logger } from "./ops/logger.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** The thinking indicator, wired. */
export function buildIndicator(wiring: {
  config: Config;
  store: SqliteStore;
  sender: (account: string) => Pick<AccountSender, "reactions" | "gates"> | undefined;
  quota: QuotaGovernor;
  clock: Clock;
  logger: Logger;
  alarm: Alarm | undefined;
}): Indicator {
  const { config, quota } = wiring;
  return new Indicator({
    ...wiring,
    settings: (account) => config.accounts.find(({ name }) => name === account)?.reply,
    ladder: (account) => quota.ladder(account),
  });
}
