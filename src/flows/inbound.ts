import type { Account } from "../domain/account.ts";
import type { Envelope } from "../domain/envelope.ts";
import type { BridgeError } from "../domain/errors.ts";
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
  controlLane,
  conversationLane,
  isControlLane,
  splitLane,
} from "../queue/store.ts";
import type { Usage } from "../queue/quota-store.ts";
import type { Notices } from "./notices.ts";
import type { PersonLimit } from "./person-limit.ts";
import type { QuotaGovernor } from "./quota.ts";

/** Topic of robot messages (dingtalk-protocol.md §1.4). */
export const MESSAGE_TOPIC = "/v1.0/im/bot/messages/get";

/** Waits while an entry belongs to an account that is not configured. */
const UNKNOWN_ACCOUNT_RETRY_MS = 60_000;

export interface InboundOptions {
  store: QueueStore;
  /** `lane`: whose attempt it is. */
  gateway: { post(envelope: Envelope, signal: AbortSignal, lane: string): Promise<Outcome> };
  account: (name: string) => Account | undefined;
  /** Origins besides DingTalk's own that a sessionWebhook may have. */
  webhookOrigins: readonly string[];
  includeRaw: boolean;
  quota: QuotaGovernor;
  /** Messages that are one of these words, and nothing else, go ahead of all others. Lower case. */
  stopWords: readonly string[];
  persons: PersonLimit;
  notices: Pick<Notices, "overQuota" | "personLimit">;
  /** Why nothing can be stored just now. */
  refusal: () => BridgeError | undefined;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** A new entry is committed: its lane may run. */
  onAppended: (lane: string) => void;
  /** Outbox entries of a person's lane now belong to the direct conversation's lane. */
  onMerged: (merged: { from: string; to: string }) => void;
}

/**
 * Lanes whose held entries count together: the direct conversations of an account, because OpenClaw serves them in one
 * session. What must not wait, does not wait for them.
 */
export function heldTogether(store: Pick<QueueStore, "conversation">): (lane: string) => string | undefined {
  return (lane) => {
    if (isControlLane(lane)) return undefined;
    const { account, conversationId } = splitLane(lane);
    return store.conversation(account, conversationId)?.kind === "direct" ? account : undefined;
  };
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
   * Commits a push to the inbox; resolves with the ack to write. Rejects with `store_unavailable` or `disk_low` when it is
   * not durable: DingTalk then pushes again (dingtalk-protocol.md §1.7).
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
    const refusal = this.#options.refusal();
    if (refusal) throw refusal;
    const push = readPush(frame.data, { allowedOrigins: this.#options.webhookOrigins });
    if (!push.ok) await this.#keepUnreadable(account, frame, receivedAt, push.reason);
    else await this.#keep(account, frame, push, receivedAt);
    return { data: { response: null } };
  }

  async #keep(account: Account, frame: PushFrame, push: Push, receivedAt: number): Promise<void> {
    const { store, logger, metrics, persons, notices } = this.#options;
    const lane = conversationLane(account.name, push.conversationId);
    const sender = push.senderStaffId ?? push.senderId;
    const stops = this.#isStopWord(push);
    // A stop word is never one too many, and what DingTalk withholds goes nowhere: neither is counted.
    const isFree = stops || push.overQuota !== undefined;
    const id = `${account.name}:${push.msgId}`;
    const taken = isFree
      ? "uncounted"
      : persons.take(account.name, sender, () => store.find("inbox", id) !== undefined);
    const tooMany = taken === "over";
    const usage = this.#options.quota.usage(account.name, "inbound");
    const entry: NewEntry = {
      queue: "inbox",
      id,
      key: `${account.robotCode}:${push.msgId}`,
      account: account.name,
      lane: stops ? controlLane(lane) : lane,
      kind: "message",
      body: { data: push.body, receivedAt } satisfies StoredPush,
      createdAt: receivedAt,
      sender,
      ...(stops && { cancels: { lane } }),
      ...(tooMany && { cancelled: { code: "person_limit" as const, detail: "over limits.perPersonPerDay" } }),
      // What DingTalk withholds takes no unit.
      ...(!push.overQuota && { usage }),
      ...(push.overQuota && {
        dead: {
          code: "quota_exhausted",
          detail: `DingTalk withheld the text: ${push.overQuota.code} ${push.overQuota.message}`,
        },
      }),
    };
    const conversation = conversationOf(account, push, receivedAt);
    const giveBack = (): void => {
      if (taken === "counted") persons.giveBack(account.name, sender);
    };
    const appended = await store.append(entry, conversation).catch((error: unknown) => {
      giveBack();
      throw error;
    });
    this.#log(logger, entry, push, frame, appended);
    if (appended.duplicate) {
      giveBack();
      metrics.inboxDuplicates.inc({ account: account.name });
      return;
    }
    metrics.inboxAccepted.inc({ account: account.name });
    this.#count(account, push, usage, conversation);
    if (appended.merged) this.#options.onMerged(appended.merged);
    if (tooMany) return notices.personLimit(conversation, sender);
    if (entry.dead) return;
    this.#options.onAppended(entry.lane);
    if (appended.cancelled) this.#options.onAppended(lane);
  }

  /** Only the bare word: "stop the machine" is a message like any other. */
  #isStopWord({ body }: Push): boolean {
    const { text } = body;
    if (typeof text !== "object" || text === null || !("content" in text)) return false;
    return typeof text.content === "string" && this.#options.stopWords.includes(text.content.trim().toLowerCase());
  }

  #count(account: Account, push: Push, usage: Usage, conversation: Conversation): void {
    const { quota, notices } = this.#options;
    const corpId = push.body["chatbotCorpId"];
    if (typeof corpId === "string" && corpId !== "") quota.learn(account.name, corpId);
    if (!push.overQuota) return quota.accepted(account.name, usage);
    quota.refused(account.name, "units", `${push.overQuota.code} ${push.overQuota.message}`);
    notices.overQuota(conversation);
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
    else if (entry.cancelled)
      logger.info({ ...fields, ...entry.cancelled }, "message received, stored and not passed on");
    else if (entry.cancels) logger.info({ ...fields, cancelled: appended.cancelled }, "stop word received and stored");
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
    const envelope = buildEnvelope(normalised, { attempt: entry.attempts + 1, now: clock.now() });
    return gateway.post(envelope, signal, entry.lane);
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
