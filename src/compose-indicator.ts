import type { AccountConfig } from "./config-types.ts";
import type { AccountSender } from "./flows/account.ts";
import { type Alarm, Indicator } from "./flows/indicator.ts";
import type { QuotaGovernor } from "./flows/quota.ts";
import type { Clock } from "./ops/clock.ts";
import type { Logger } from "./ops/logger.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** The thinking indicator, wired. */
export function buildIndicator(wiring: {
  /** Undefined: not served now. */
  account: (name: string) => AccountConfig | undefined;
  store: SqliteStore;
  sender: (account: string) => Pick<AccountSender, "reactions" | "gates"> | undefined;
  quota: QuotaGovernor;
  clock: Clock;
  logger: Logger;
  alarm: Alarm | undefined;
}): Indicator {
  const { account, quota } = wiring;
  return new Indicator({
    ...wiring,
    settings: (name) => account(name)?.reply,
    ladder: (name) => quota.ladder(name),
  });
}
