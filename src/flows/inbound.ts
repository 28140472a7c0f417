import type { Account } from "../domain/account.ts";
import type { Envelope } from "../domain/envelope.ts";
import type { BridgeError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { PushFrame } from "../dingtalk/frame.ts";
import { type Push, readPush } from "../dingtalk/push.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import {
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
import { CARD_ACTION, CARD_TOPIC, CardActions } from "./card-actions.ts";
import { Envelopes, type StoredPush } from "./envelopes.ts";
import { conversationOf, filesOf, isStopWord, logReceived, unreadableEntry } from "./inbound-entries.ts";
import type { MediaFetcher } from "./media-fetcher.ts";
import type { Notices } from "./notices.ts";
import type { PersonLimit } from "./person-limit.ts";
import type { QuotaGovernor } from "./quota.ts";

/** Topic of robot messages (dingtalk-protocol.md §1.4). */
export const MESSAGE_TOPIC = "/v1.0/im/bot/messages/get";

/**
 * Until a message behind others that the gateway holds looks again whether its files are there, should it not be told. Each look asks
 * the gateway about those others.
 */
const MEDIA_PENDING_RETRY_MS = 5_000;

export interface InboundOptions {
  store: QueueStore;
  /** `lane`: whose attempt it is. */
  gateway: { post(envelope: Envelope, signal: AbortSignal, lane: string): Promise<Outcome> };
  account: (name: string) => Account | undefined;
  /** Origins besides DingTalk's own that a sessionWebhook may have. */
  webhookOrigins: readonly string[];
  includeRaw: boolean;
  media: Pick<MediaFetcher, "added">;
  /** How the gateway reaches the bridge, without a slash at the end. */
  publicUrl: () => string;
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

/** What DingTalk is answered; `onSent` is to be called when the answer is on its way. */
interface Ack {
  code?: number;
  data?: unknown;
  onSent?: () => void;
}

/** What was committed. */
interface Kept {
  account: string;
  entryId: string;
  seq: number;
}

/** DingTalk → inbox → gateway. */
export class InboundFlow {
  readonly #options: InboundOptions;
  readonly #envelopes: Envelopes;
  readonly #cards: CardActions;

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#envelopes = new Envelopes(options);
    this.#cards = new CardActions(options);
  }

  /**
   * Commits a push to the inbox; resolves with the ack to write. Rejects with `store_unavailable` or `disk_low` when it is
   * not durable: DingTalk then pushes again (dingtalk-protocol.md §1.7).
   */
  async accept(account: Account, frame: PushFrame, receivedAt: number): Promise<Ack> {
    if (frame.type === "EVENT") {
      // Never subscribed, because events use up the monthly quota; one that comes all the same must not come again.
      return { data: { status: "SUCCESS", message: "not subscribed" } };
    }
    if (frame.topic !== MESSAGE_TOPIC && frame.topic !== CARD_TOPIC) {
      this.#options.logger.warn({ account: account.name, topic: frame.topic }, "push of a topic nobody asked for");
      return { code: 404, data: { response: null } };
    }
    const refusal = this.#options.refusal();
    if (refusal) throw refusal;
    if (frame.topic === CARD_TOPIC) {
      return this.#ack({}, await this.#keepCardAction(account, frame, receivedAt));
    }
    const push = readPush(frame.data, { allowedOrigins: this.#options.webhookOrigins });
    const kept = push.ok
      ? await this.#keep(account, frame, push, receivedAt)
      : await this.#keepUnreadable(account, frame, receivedAt, push.reason);
    return this.#ack(null, kept);
  }

  #ack(response: object | null, { account, entryId, seq }: Kept): Ack {
    const { store, clock, logger } = this.#options;
    return {
      data: { response },
      onSent: () => {
        store.acked(seq, clock.now());
        logger.debug({ account, entryId }, "message acked");
      },
    };
  }

  async #keep(account: Account, frame: PushFrame, push: Push, receivedAt: number): Promise<Kept> {
    const { store, logger, metrics, persons, notices } = this.#options;
    const lane = conversationLane(account.name, push.conversationId);
    const sender = push.senderStaffId ?? push.senderId;
    const stops = isStopWord(push, this.#options.stopWords);
    // A stop word is never one too many, and what DingTalk withholds goes nowhere: neither is counted.
    const isFree = stops || push.overQuota !== undefined;
    const id = `${account.name}:${push.msgId}`;
    const taken = isFree
      ? "uncounted"
      : persons.take(account.name, sender, () => store.find("inbox", id) !== undefined);
    const tooMany = taken === "over";
    const usage = this.#options.quota.usage(account.name, "inbound");
    const fetches = tooMany || push.overQuota ? [] : filesOf(push, frame);
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
      ...(fetches.length > 0 && { fetches }),
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
    logReceived(logger, entry, push, frame, appended);
    const kept = { account: account.name, entryId: id, seq: appended.seq };
    if (appended.duplicate) {
      giveBack();
      metrics.inboxDuplicates.inc({ account: account.name });
      return kept;
    }
    metrics.inboxAccepted.inc({ account: account.name });
    this.#count(account, push, usage, conversation);
    if (appended.merged) this.#options.onMerged(appended.merged);
    if (tooMany) notices.personLimit(conversation, sender);
    if (tooMany || entry.dead) return kept;
    if (fetches.length > 0) this.#options.media.added(appended.seq);
    this.#options.onAppended(entry.lane);
    if (appended.cancelled) this.#options.onAppended(lane);
    return kept;
  }

  async #keepCardAction(account: Account, frame: PushFrame, receivedAt: number): Promise<Kept> {
    const { store, quota, logger, metrics } = this.#options;
    const usage = quota.usage(account.name, "inbound");
    const entry = this.#cards.entry(account, frame, receivedAt, usage);
    if (typeof entry === "string") return this.#keepUnreadable(account, frame, receivedAt, entry);
    const { seq, duplicate } = await store.append(entry);
    const kept = { account: account.name, entryId: entry.id, seq };
    const fields = { account: account.name, entryId: entry.id, sender: entry.sender ?? null };
    if (duplicate) {
      metrics.inboxDuplicates.inc({ account: account.name });
      logger.info(fields, "card action repeated by DingTalk, already stored");
      return kept;
    }
    logger.info(fields, "card action received and stored");
    metrics.inboxAccepted.inc({ account: account.name });
    quota.accepted(account.name, usage);
    this.#options.onAppended(entry.lane);
    return kept;
  }

  #count(account: Account, push: Push, usage: Usage, conversation: Conversation): void {
    const { quota, notices } = this.#options;
    const corpId = push.body["chatbotCorpId"];
    if (typeof corpId === "string" && corpId !== "") quota.learn(account.name, corpId);
    if (!push.overQuota) return quota.accepted(account.name, usage);
    quota.refused(account.name, "units", `${push.overQuota.code} ${push.overQuota.message}`);
    notices.overQuota(conversation);
  }

  async #keepUnreadable(account: Account, frame: PushFrame, receivedAt: number, reason: string): Promise<Kept> {
    const { store, logger, metrics } = this.#options;
    const entry = unreadableEntry(account, frame, receivedAt, reason);
    const { seq, duplicate } = await store.append(entry);
    const kept = { account: account.name, entryId: entry.id, seq };
    if (duplicate) return kept;
    metrics.streamInvalid.inc({ account: account.name, reason: "unreadable_data" });
    logger.error(
      { account: account.name, entryId: entry.id, frameId: frame.messageId, reason },
      "unreadable push kept as a dead letter",
    );
    return kept;
  }

  /** One attempt: normalise and POST. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const { gateway, media } = this.#options;
    const account = this.#options.account(entry.account);
    if (!account) {
      return {
        kind: "retry",
        code: "account_paused",
        class: "peer-away",
        // At the door of its account it waits without being tried.
        afterMs: 0,
        detail: `account ${entry.account} is not configured`,
      };
    }
    const action = entry.kind === CARD_ACTION ? this.#cards.envelope(entry, account) : undefined;
    if (entry.kind !== "message" && !action) {
      return { kind: "rejected", code: "unreadable", detail: entry.error?.detail ?? "the push could not be read" };
    }
    const envelope = action ?? this.#envelopes.message(entry, account);
    if (envelope) return gateway.post(envelope, signal, entry.lane);
    // Not known to it where a dead letter is tried again.
    media.added(entry.seq);
    return {
      kind: "retry",
      code: "media_pending",
      class: "peer-away",
      afterMs: MEDIA_PENDING_RETRY_MS,
      detail: "files of the message are still being fetched",
    };
  }
}
