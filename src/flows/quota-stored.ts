import { type Limits, type PlanName, limitsOf, monthAt } from "../domain/quota.ts";
import type { QuotaReport } from "../domain/quota-report.ts";
import { readQuotaFile } from "../queue/quota-store.ts";
import { QuotaBook, type RobotOf } from "./quota-book.ts";
import { reportOf } from "./quota.ts";

/**
 * The month's use as it is on disk, for when no daemon runs; nothing is changed. Undefined when nothing was ever counted there.
 * Throws what SQLite throws when the file cannot be read.
 */
export function storedQuota(
  config: {
    dataDir: string;
    quota: { plan: PlanName } & Limits;
    accounts: readonly (RobotOf & { enabled: boolean })[];
  },
  now: number,
): QuotaReport | undefined {
  const month = monthAt(now);
  const rows = readQuotaFile(config.dataDir, month.name);
  const accounts = config.accounts.filter(({ enabled }) => enabled);
  return rows && reportOf(new QuotaBook(rows, month, limitsOf(config.quota)), accounts, config.quota.plan, now);
}
