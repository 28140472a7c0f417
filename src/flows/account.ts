import type { Account } from "../domain/account.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { QuotaClass } from "../domain/quota.ts";
import type { HttpCall } from "../dingtalk/http.ts";
import { OpenApi } from "../dingtalk/open-api.ts";
import { TokenSource } from "../dingtalk/token.ts";
import { sendByWebhook } from "../dingtalk/webhook.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { Gate } from "../queue/gate.ts";
import { WindowLimiter } from "../queue/limiter.ts";
import type { AccountSender } from "./outbound.ts";

export interface AccountSenderOptions {
  account: Account;
  apiBase: string;
  call: HttpCall;
  /** Requests per second and DingTalk API (dingtalk-protocol.md §5.2). */
  apiPerSecond: number;
  clockOffset: () => number;
  /** Told of the outcome of everything that DingTalk counts, in the turn of the answer. */
  observe: (name: QuotaClass, outcome: Outcome) => void;
  /** An endpoint group was found away (false) or is back (true). */
  onGate: (open: boolean) => void;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** Attempts in a row without an answer before DingTalk's endpoint counts as away, and the time between probes then. */
const FAILURES = 5;
const COOLDOWN = { baseMs: 1_000, capMs: 30_000 };

/** All that sends for one account. Nothing of it is shared with another: token, limiters, offset. */
export function createAccountSender(options: AccountSenderOptions): AccountSender & { close(): void } {
  const { account, apiBase, call, clock, metrics, apiPerSecond } = options;
  const logger = options.logger.child({ account: account.name });
  const tokens = new TokenSource({ account, apiBase, call, clock, logger });
  const api = new OpenApi({ account, apiBase, call, tokens, logger, metrics });
  const limiter = () => new WindowLimiter({ cap: apiPerSecond, windowMs: 1_000 });
  const counted =
    (name: QuotaClass) =>
    (outcome: Outcome): Outcome => {
      options.observe(name, outcome);
      return outcome;
    };
  const limiters = { webhook: limiter(), oto: limiter(), group: limiter() };
  const gate = (api: string) =>
    new Gate({
      name: `${account.name} ${api}`,
      failures: FAILURES,
      cooldown: COOLDOWN,
      // More would wait for the limiter and keep workers from what waits for nothing.
      concurrency: apiPerSecond,
      logger,
      onChange: options.onGate,
    });
  const gates = { webhook: gate("webhook"), oto: gate("oto"), group: gate("group") };
  return {
    webhook: ({ webhookUrl, content, mentions }) =>
      sendByWebhook(call, { webhookUrl, content, mentions, clock, observer: { account: account.name, metrics } }).then(
        counted("webhook"),
      ),
    toUser: (message) => api.sendToUser(message).then(counted("oto")),
    toGroup: (message) => api.sendToGroup(message).then(counted("group")),
    limiter: limiters,
    gates,
    clockOffset: options.clockOffset,
    close: () => {
      for (const one of [...Object.values(limiters), ...Object.values(gates)]) one.close();
    },
  };
}
