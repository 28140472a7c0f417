import { type Finding, fine } from "../domain/finding.ts";
import type { QuotaReport } from "../domain/quota-report.ts";
import { BUDGETS } from "../domain/quota.ts";

const NAMES = { calls: "Open API calls", units: "Webhook & Stream units" } as const;
const HIGH_PERCENT = 80;
const MEND = "dingtalk-bridge quota; more: open-dev.dingtalk.com → 首页 → 资源管理";

/** The month's use of each budget; undefined: nothing was ever counted. */
export function quotaFindings(report: QuotaReport | undefined): Finding[] {
  if (!report || report.organisations.length === 0) return [fine("quota", "nothing was counted yet")];
  return report.organisations.flatMap((organisation) =>
    BUDGETS.map((budget): Finding => {
      const { used, limit, percent, closed } = organisation[budget];
      const whose = organisation.accounts.join(", ");
      const text = `${whose}: ${used} of ${limit} ${NAMES[budget]} of ${report.month} are used (${Math.floor(percent)} %)`;
      if (closed) {
        const refused = `${text}; DingTalk refuses since ${closed.since}`;
        return { check: "quota", code: "quota_exhausted", level: "error", text: refused, mend: MEND };
      }
      if (percent >= HIGH_PERCENT) return { check: "quota", code: "quota_high", level: "warning", text, mend: MEND };
      return fine("quota", text);
    }),
  );
}
