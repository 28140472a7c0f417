import type { Accounts } from "./accounts.ts";
import { type AccountChanges, limitChanges, restartNeeded } from "./config-changes.ts";
import type { Config } from "./config-types.ts";
import type { Logger } from "./ops/logger.ts";

/** What became of settings that were read again. */
export interface ReloadReport {
  accounts: AccountChanges;
  /** Paths of limits that hold now. */
  limits: string[];
  /** Paths of settings that have changed and have no effect before a restart. */
  restart: string[];
}

/** Puts accounts and limits of other settings into effect; `limits` is changed in place, for whoever reads it at each use. */
export function buildReload(wiring: {
  /** Of the start. */
  config: Config;
  limits: Config["limits"];
  accounts: Accounts;
  /** Bounds that are kept elsewhere. */
  resizable: readonly { resize(apiPerSecond: number): void }[];
  handshake: { askNow(): void };
  logger: Logger;
}): (next: Config) => Promise<ReloadReport> {
  const { config, limits, accounts, resizable, handshake, logger } = wiring;
  return async (next) => {
    const changed = limitChanges(limits, next.limits);
    Object.assign(limits, next.limits);
    accounts.resize(limits);
    for (const one of resizable) one.resize(limits.apiPerSecond);
    const report = {
      accounts: await accounts.apply(next.accounts),
      limits: changed,
      restart: restartNeeded(config, next),
    };
    handshake.askNow();
    logger.info({ ...report.accounts, limits: report.limits }, "settings read again");
    if (report.restart.length > 0) {
      logger.warn({ settings: report.restart }, `restart needed: ${report.restart.join(", ")}`);
    }
    return report;
  };
}
