import type { Account } from "../domain/account.ts";
import type { HttpCall } from "../dingtalk/http.ts";
import { OpenApi } from "../dingtalk/open-api.ts";
import { TokenSource } from "../dingtalk/token.ts";
import { sendByWebhook } from "../dingtalk/webhook.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { WindowLimiter } from "../queue/limiter.ts";
import type { AccountSender } from "./outbound.ts";

export interface AccountSenderOptions {
  account: Account;
  apiBase: string;
  call: HttpCall;
  /** Requests per second and DingTalk API (dingtalk-protocol.md §5.2). */
  apiPerSecond: number;
  clockOffset: () => number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** All that sends for one account. Nothing of it is shared with another: token, limiters, offset. */
export function createAccountSender(options: AccountSenderOptions): AccountSender & { close(): void } {
  const { account, apiBase, call, clock, metrics, apiPerSecond } = options;
  const logger = options.logger.child({ account: account.name });
  const tokens = new TokenSource({ account, apiBase, call, clock, logger });
  const api = new OpenApi({ account, apiBase, call, tokens, logger, metrics });
  const limiter = () => new WindowLimiter({ cap: apiPerSecond, windowMs: 1_000 });
  const limiters = { webhook: limiter(), oto: limiter(), group: limiter() };
  return {
    webhook: ({ webhookUrl, content, mentions }) =>
      sendByWebhook(call, { webhookUrl, content, mentions, clock, observer: { account: account.name, metrics } }),
    toUser: (message) => api.sendToUser(message),
    toGroup: (message) => api.sendToGroup(message),
    limiter: limiters,
    clockOffset: options.clockOffset,
    close: () => {
      for (const one of Object.values(limiters)) one.close();
    },
  };
}
