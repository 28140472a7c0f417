import type { Outcome } from "../domain/outcome.ts";
import { type Clock, systemClock } from "../ops/clock.ts";
import type { Metrics } from "../ops/metrics.ts";
import { failureOfCall, judgeWebhook, resultCode } from "./answers.ts";
import { type Mentions, type WebhookContent, webhookBody } from "./bodies.ts";
import type { HttpCall } from "./http.ts";

/**
 * One message by a conversation's session webhook (dingtalk-protocol.md §3.2). `webhook_expired` (300001, or a URL that cannot
 * be one) means: send by the Open API. No receipt id: a webhook message can be neither tracked nor recalled.
 *
 * Whether the URL's host is DingTalk's is for the caller to know. The URL is a secret: it appears in no outcome and no log.
 *
 * @throws nothing of the network; only a fault of our own
 */
export async function sendByWebhook(
  call: HttpCall,
  message: {
    webhookUrl: string;
    content: WebhookContent;
    mentions?: Mentions | undefined;
    signal?: AbortSignal | undefined;
    clock?: Clock;
    observer?: { account: string; metrics: Metrics };
  },
): Promise<Outcome> {
  const { webhookUrl, content, mentions, signal, observer } = message;
  const url = URL.parse(webhookUrl);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return { kind: "rejected", code: "webhook_expired", detail: "the session webhook is not a URL" };
  }
  const session = url.searchParams.get("session") ?? "";
  const endTimer = observer?.metrics.sendSeconds.startTimer({ endpoint: "webhook" });
  const judged = await call({ method: "POST", url: webhookUrl, json: webhookBody(content, mentions), signal }).then(
    (answer) => judgeWebhook(answer, [webhookUrl, session]),
    failureOfCall,
  );
  endTimer?.();
  observer?.metrics.sends.inc({ account: observer.account, endpoint: "webhook", code: resultCode(judged) });
  if (judged.kind !== "done") return judged;
  return { kind: "delivered", receipt: { route: "webhook", at: (message.clock ?? systemClock).now() } };
}
