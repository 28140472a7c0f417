import type { Account } from "../domain/account.ts";
import type { CardActionEnvelope, Conversation as Place, Reply } from "../domain/envelope.ts";
import { type CardActionPush, readCardAction } from "../dingtalk/card-action.ts";
import type { PushFrame } from "../dingtalk/frame.ts";
import { UNKNOWN_ID } from "../dingtalk/identity.ts";
import { compact, isoTime } from "../dingtalk/json.ts";
import type { Clock } from "../ops/clock.ts";
import type { Usage } from "../queue/quota-store.ts";
import { type Entry, type NewEntry, type QueueStore, controlLane, conversationLane, userLane } from "../queue/store.ts";

/** Topic of what people do with cards (dingtalk-protocol.md §4.6). */
export const CARD_TOPIC = "/v1.0/card/instances/callback";

export const CARD_ACTION = "card.action";

/** What an inbox entry of this kind holds: the push as it came. */
interface StoredAction {
  data: Record<string, unknown>;
  receivedAt: number;
}

export interface CardActionsOptions {
  store: Pick<QueueStore, "conversation" | "directConversation">;
  clock: Clock;
}

type Action = Pick<CardActionPush, "outTrackId" | "userId" | "spaceId" | "spaceType">;

/** Somebody used a control of a card: from the push to the inbox entry, from the entry to the envelope. */
export class CardActions {
  readonly #options: CardActionsOptions;

  constructor(options: CardActionsOptions) {
    this.#options = options;
  }

  /**
   * The entry for a push. It goes ahead of the conversation's messages: whoever presses a button waits for what it does. A
   * string is the reason why the push cannot be read.
   */
  entry(account: Account, frame: PushFrame, receivedAt: number, usage: Usage): NewEntry | string {
    const push = readCardAction(frame.data);
    if (!push.ok) return push.reason;
    return {
      queue: "inbox",
      id: `${account.name}:${frame.messageId}`,
      key: `${account.robotCode}:${frame.messageId}`,
      account: account.name,
      lane: this.#lane(account.name, push),
      kind: CARD_ACTION,
      body: { data: push.body, receivedAt } satisfies StoredAction,
      createdAt: receivedAt,
      ...(push.userId !== undefined && { sender: push.userId }),
      usage,
    };
  }

  /** Undefined for a push that this release cannot read. */
  envelope(entry: Entry, account: Account): CardActionEnvelope | undefined {
    const { data, receivedAt } = entry.body as StoredAction;
    const push = readCardAction(JSON.stringify(data));
    if (!push.ok) return undefined;
    const conversation = this.#place(account.name, push);
    return {
      version: 1,
      id: entry.id,
      type: "card.action",
      account: account.name,
      robotCode: account.robotCode,
      attempt: entry.attempts + 1,
      receivedAt: isoTime(receivedAt),
      ageMs: Math.max(0, Math.round(this.#options.clock.now() - receivedAt)),
      action: compact({
        outTrackId: push.outTrackId,
        actionId: push.actionId,
        params: push.params,
        user: push.userId ?? UNKNOWN_ID,
        conversation,
      }),
      ...replyOf(entry.id, push, conversation),
    };
  }

  #lane(account: string, push: Action): string {
    const place = this.#place(account, push);
    if (place) return controlLane(conversationLane(account, place.id));
    // Nothing else is known of it but the card: actions on one card keep their order.
    return controlLane(userLane(account, push.userId ?? `card:${push.outTrackId}`));
  }

  /** A group by the space of the card; a direct conversation by the person, because its space is the person too. */
  #place(account: string, { userId, spaceId, spaceType }: Action): Place | undefined {
    const { store } = this.#options;
    const known = spaceId === undefined ? undefined : store.conversation(account, spaceId);
    // "IM" was seen for either (dingtalk-protocol.md §4.6).
    const type = spaceType?.toUpperCase() ?? "";
    const isGroup = known ? known.kind === "group" : /GROUP/.test(type) || (type === "IM" && spaceId !== userId);
    if (isGroup && spaceId !== undefined) return compact({ kind: "group" as const, id: spaceId, title: known?.title });
    const direct = known ?? (userId === undefined ? undefined : store.directConversation(account, userId));
    return direct && { kind: "direct", id: direct.id };
  }
}

function replyOf(id: string, { userId }: Action, conversation: Place | undefined): { reply?: Reply } {
  const isGroup = conversation?.kind === "group";
  const to = isGroup || userId === undefined ? conversation && `conversation:${conversation.id}` : `user:${userId}`;
  return to === undefined ? {} : { reply: { to, inReplyTo: id } };
}
