import type { Account } from "../domain/account.ts";
import type { Envelope } from "../domain/envelope.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { PushFrame } from "../dingtalk/frame.ts";
import { buildEnvelope, normaliseMessage } from "../dingtalk/normalise.ts";
import { type Push, readPush } from "../dingtalk/push.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import {
  type Appended,
  type Conversation,
  type Entry,
  type NewEntry,
  type QueueStore,
  conversationLane,
} from "../queue/store.ts";

/** Topic of robot messages (dingtalk-protocol.md §1.4). */
export const MESSAGE_TOPIC = "/v1.0/im/bot/messages/get";

/** Waits while an entry belongs to an account that is not configured. */
const UNKNOWN_ACCOUNT_RETRY_MS = 60_000;

export interface InboundOptions {
  store: QueueStore;
  gateway: { post(envelope: Envelope, signal: AbortSignal): Promise<Outcome> };
  account: (name: string) => Account | undefined;
  /** Origins besides DingTalk's own that a sessionWebhook may have. */
  webhookOrigins: readonly string[];
  includeRaw: boolean;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** A new entry is committed: its lane may run. */
  onAppended: (lane: string) => void;
  /** Outbox entries of a person's lane now belong to the direct conversation's lane. */
  onMerged: (merged: { from: string; to: string }) => void;
}

/** What an inbox entry holds: the push as it came, less the webhook, so that normalising can be mended later. */
interface StoredPush {
  data: Record<string, unknown>;
  receivedAt: number;
}

/** DingTalk → inbox → gateway. */
export class InboundFlow {
  readonly #options: InboundOptions;

  constructor(options: InboundOptions) {
    this.#options = options;
  }

  /**
   * Commits a push to the inbox; resolves with the ack to write. Rejects with `store_unavailable` when it is not
   * durable: DingTalk then pushes again (dingtalk-protocol.md §1.7).
   */
  async accept(account: Account, frame: PushFrame, receivedAt: number): Promise<{ code?: number; data?: unknown }> {
    if (frame.type === "EVENT") {
      // Never subscribed, because events use up the monthly quota; one that comes all the same must not come again.
      return { data: { status: "SUCCESS", message: "not subscribed" } };
    }
    if (frame.topic !== MESSAGE_TOPIC) {
      this.#options.logger.warn({ account: account.name, topic: frame.topic }, "push of a topic nobody asked for");
      return { code: 404, data: { response: null } };
    }
    const push = readPush(frame.data, { allowedOrigins: this.#options.webhookOrigins });
    if (!push.ok) await this.#keepUnreadable(account, frame, receivedAt, push.reason);
    else await this.#keep(account, frame, push, receivedAt);
    return { data: { response: null } };
  }

  async #keep(account: Account, frame: PushFrame, push: Push, receivedAt: number): Promise<void> {
    const { store, logger, metrics } = this.#options;
    const lane = conversationLane(account.name, push.conversationId);
    const entry: NewEntry = {
      queue: "inbox",
      id: `${account.name}:${push.msgId}`,
      key: `${account.robotCode}:${push.msgId}`,
      account: account.name,
      lane,
      kind: "message",
      body: { data: push.body, receivedAt } satisfies StoredPush,
      createdAt: receivedAt,
      ...(push.overQuota && {
        dead: {
          code: "quota_exhausted",
          detail: `DingTalk withheld the text: ${push.overQuota.code} ${push.overQuota.message}`,
        },
      }),
    };
    const appended = await store.append(entry, conversationOf(account, push, receivedAt));
    this.#log(logger, entry, push, frame, appended);
    if (appended.duplicate) {
      metrics.inboxDuplicates.inc({ account: account.name });
      return;
    }
    metrics.inboxAccepted.inc({ account: account.name });
    if (appended.merged) this.#options.onMerged(appended.merged);
    if (!entry.dead) this.#options.onAppended(lane);
  }

  /** The line an administrator looks for: who wrote, from where, with the ids that allow-lists take. */
  #log(logger: Logger, entry: NewEntry, push: Push, frame: PushFrame, appended: Appended): void {
    const fields = {
      account: entry.account,
      entryId: entry.id,
      frameId: frame.messageId,
      senderStaffId: push.senderStaffId ?? null,
      senderId: push.senderId,
      senderName: push.senderName,
      conversationId: push.conversationId,
      conversationKind: push.conversationKind,
      conversationTitle: push.conversationTitle,
      msgtype: push.body["msgtype"],
    };
    if (appended.duplicate) logger.info(fields, "message repeated by DingTalk, already stored");
    else if (entry.dead)
      logger.error({ ...fields, ...entry.dead }, "message withheld by DingTalk: the month's Stream quota is used up");
    else logger.info(fields, "message received and stored");
  }

  async #keepUnreadable(account: Account, frame: PushFrame, receivedAt: number, reason: string): Promise<void> {
    const { store, logger, metrics } = this.#options;
    const appended = await store.append({
      queue: "inbox",
      id: `${account.name}:frame:${frame.messageId}`,
      key: `${account.robotCode}:frame:${frame.messageId}`,
      account: account.name,
      lane: `${account.name}\nunreadable`,
      kind: "unreadable",
      body: { raw: frame.data, topic: frame.topic },
      createdAt: receivedAt,
      dead: { code: "unreadable", detail: reason },
    });
    if (appended.duplicate) return;
    metrics.streamInvalid.inc({ account: account.name, reason: "unreadable_data" });
    logger.error({ account: account.name, frameId: frame.messageId, reason }, "unreadable push kept as a dead letter");
  }

  /** One attempt: normalise and POST. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const { gateway, clock, includeRaw } = this.#options;
    const account = this.#options.account(entry.account);
    if (!account) {
      return {
        kind: "retry",
        code: "account_unknown",
        class: "peer-away",
        afterMs: UNKNOWN_ACCOUNT_RETRY_MS,
        detail: `account ${entry.account} is not configured`,
      };
    }
    if (entry.kind !== "message") {
      return { kind: "rejected", code: "unreadable", detail: entry.error?.detail ?? "the push could not be read" };
    }
    const { data, receivedAt } = entry.body as StoredPush;
    const normalised = normaliseMessage(data, {
      account: account.name,
      robotCode: account.robotCode,
      receivedAt,
      includeRaw,
    });
    return gateway.post(buildEnvelope(normalised, { attempt: entry.attempts + 1, now: clock.now() }), signal);
  }
}

function conversationOf(account: Account, push: Push, receivedAt: number): Conversation {
  return {
    account: account.name,
    id: push.conversationId,
    kind: push.conversationKind,
    title: push.conversationTitle,
    // In a group the sender is one of many: a staffId belongs to a direct conversation only.
    staffId: push.conversationKind === "direct" ? push.senderStaffId : undefined,
    webhook: push.webhook,
    lastSeen: receivedAt,
  };
}
