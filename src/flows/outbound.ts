import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import { type Target, parseTarget } from "../domain/target.ts";
import type { TextPart } from "../domain/text.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { WindowLimiter } from "../queue/limiter.ts";
import type { Conversation, Entry, QueueStore } from "../queue/store.ts";

export interface Mentions {
  userIds?: string[];
  all?: boolean;
}

/** One part as it is stored and sent. */
export type OutboundContent = { type: "text"; text: string } | ({ type: "markdown" } & TextPart);

/** What an outbox entry holds. */
export interface StoredMessage {
  to: string;
  inReplyTo?: string;
  mentions?: Mentions;
  /** Epoch milliseconds after which the message is worthless to its sender. */
  expiresAt?: number;
}

/** What sends for one account: DingTalk's two roads and the limiter of each API. */
export interface AccountSender {
  webhook(options: { webhookUrl: string; content: OutboundContent; mentions?: Mentions }): Promise<Outcome>;
  toUser(options: { staffId: string; content: OutboundContent }): Promise<Outcome>;
  toGroup(options: { openConversationId: string; content: OutboundContent }): Promise<Outcome>;
  limiter: { webhook: WindowLimiter; oto: WindowLimiter; group: WindowLimiter };
  /** DingTalk's clock less ours, from the last frame; milliseconds. */
  clockOffset(): number;
}

export interface OutboundOptions {
  store: QueueStore;
  sender: (account: string) => AccountSender | undefined;
  /** What becomes of a send that was cut off by a crash: sent again, or left for a person to look at. */
  onUncertain: "retry" | "hold";
  /** A webhook is not used in the last so many milliseconds of its life. */
  webhookMarginMs: number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

const UNKNOWN_ACCOUNT_RETRY_MS = 60_000;

type Road = { api: "webhook"; url: string } | { api: "oto"; staffId: string } | { api: "group"; id: string };

/** Outbox → DingTalk. The road is chosen per part, at the time of the send. */
export class OutboundFlow {
  readonly #options: OutboundOptions;

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  /** Sends what of the entry is not delivered yet, in order; each part is settled by itself. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const { store, clock } = this.#options;
    const sender = this.#options.sender(entry.account);
    const message = entry.body as StoredMessage;
    const target = parseTarget(message.to);
    if (!sender)
      return later("account_unknown", `account ${entry.account} is not configured`, UNKNOWN_ACCOUNT_RETRY_MS);
    if (!target) return { kind: "rejected", code: "no_route", detail: `not a target: ${message.to}` };
    if (this.#options.onUncertain === "hold" && entry.crashes > 0 && entry.uncertain) {
      return { kind: "uncertain", code: "interrupted", detail: "the bridge ended while it was being sent" };
    }
    const parts = store.parts(entry.seq);
    let last: Receipt | undefined;
    for (const part of parts) {
      last = part.receipt;
      if (part.receipt) continue;
      if (signal.aborted) return later("interrupted", "stopped before this part was sent", 0);
      if (message.expiresAt !== undefined && clock.now() > message.expiresAt) {
        return { kind: "rejected", code: "too_old", detail: "its ttlMs ended before it could be sent" };
      }
      const content = part.body as OutboundContent;
      const outcome = await this.#send(
        entry.account,
        sender,
        target,
        content,
        part.n === 0 ? message.mentions : undefined,
      );
      if (outcome.kind !== "delivered") return outcome;
      last = outcome.receipt ?? { route: "open-api", at: clock.now() };
      await store.deliverPart(entry.seq, part.n, last);
    }
    return last ? { kind: "delivered", receipt: last } : { kind: "delivered" };
  }

  async #send(
    account: string,
    sender: AccountSender,
    target: Target,
    content: OutboundContent,
    mentions: Mentions | undefined,
  ): Promise<Outcome> {
    const conversation = this.#conversation(account, target);
    const roads = this.#roads(sender, target, conversation);
    for (const road of roads) {
      const outcome = await this.#take(account, sender, road, content, mentions);
      if (outcome.kind === "rejected" && outcome.code === "webhook_expired") continue;
      return outcome;
    }
    return {
      kind: "rejected",
      code: "no_route",
      detail: `${target.kind}:${target.id} has no fresh webhook and no staffId to send to`,
    };
  }

  #conversation(account: string, target: Target): Conversation | undefined {
    const { store } = this.#options;
    return target.kind === "user"
      ? store.directConversation(account, target.id)
      : store.conversation(account, target.id);
  }

  /** The webhook first: it costs no Open API call and is the only way to @ somebody in a group. */
  #roads(sender: AccountSender, target: Target, conversation: Conversation | undefined): Road[] {
    const roads: Road[] = [];
    const webhook = conversation?.webhook;
    const theirNow = this.#options.clock.now() + sender.clockOffset();
    if (webhook && webhook.expiresAt - this.#options.webhookMarginMs > theirNow)
      roads.push({ api: "webhook", url: webhook.url });
    if (target.kind === "user") roads.push({ api: "oto", staffId: target.id });
    else if (conversation?.kind !== "direct") roads.push({ api: "group", id: target.id });
    else if (conversation.staffId !== undefined) roads.push({ api: "oto", staffId: conversation.staffId });
    return roads;
  }

  #take(
    account: string,
    sender: AccountSender,
    road: Road,
    content: OutboundContent,
    mentions: Mentions | undefined,
  ): Promise<Outcome> {
    const waited = this.#options.metrics.limiterWaitSeconds.startTimer({ account });
    return sender.limiter[road.api].run(() => {
      waited();
      switch (road.api) {
        case "webhook":
          return sender.webhook({ webhookUrl: road.url, content, ...(mentions && { mentions }) });
        case "oto":
          return sender.toUser({ staffId: road.staffId, content });
        case "group":
          return sender.toGroup({ openConversationId: road.id, content });
      }
    });
  }
}

function later(code: ErrorCode, detail: string, afterMs: number): Outcome {
  return { kind: "retry", code, class: "peer-away", detail, afterMs };
}
