/** What is shown of one card's life; changes in place as the card does. */
export interface SimulatedCard {
  /** Its place in the chat: of the same counter as `SentMessage.seq`, taken when it was delivered. */
  seq: number;
  app: string;
  outTrackId: string;
  templateId: string;
  /** Of the group, or the direct conversation with the person; "" while not delivered. */
  conversationId: string;
  /** `IM_GROUP`, `IM_ROBOT`, …; "" while not delivered. */
  spaceType: string;
  /** The person of an `IM_ROBOT` space. */
  userId?: string;
  /** All variables as they are shown now, streamed ones included. */
  params: Record<string, string>;
  /** By user id. */
  privateParams: Record<string, Record<string, string>>;
  /** 1 processing, 2 inputting, 3 finished, 4 executing, 5 failed (dingtalk-protocol.md §4.5). */
  flowStatus: string;
  /** Streamed variables as they are shown now. */
  content: Record<string, string>;
  /** Streaming updates that took effect, oldest first; the oldest go when there are more than `cardUpdatesKept`. */
  updates: CardUpdate[];
  /** All streaming updates that took effect. */
  streamed: number;
  /** `PUT card/instances` and answers to presses that took effect. */
  changed: number;
  carrierId: string;
  callbackType: string;
  cardAtUserIds: string[];
  /** `atUserIds` of the deliver model: user id → name. */
  atUserIds: Record<string, string>;
  /** `lastMessageI18n` of the space model. */
  summary: Record<string, string>;
  /** Epoch milliseconds. */
  createdAt: number;
  /** When it first became finished or failed. */
  finishedAt?: number;
  /** It is in a chat. */
  delivered: boolean;
  /** How often it was put into a chat; more than once is a duplicate. */
  deliveries: number;
  /** A value is longer than `cardBlankChars`: people see an empty card (dingtalk-protocol.md §4.3). */
  blank: boolean;
}

export interface CardUpdate {
  at: number;
  key: string;
  content: string;
  isFinalize: boolean;
  isError: boolean;
  guid: string;
}

/** Somebody uses a control of a card. */
export interface CardPress {
  outTrackId: string;
  actionId: string;
  params?: Record<string, unknown>;
  /** Staff id; default the person of a direct card, else the first user. */
  from?: string;
  /** Of the card; only needed when two apps use one outTrackId. */
  app?: string;
}

/** A robot's reaction under somebody's message. */
export interface SimulatedReaction {
  seq: number;
  at: number;
  app: string;
  /** `openMsgId`. */
  msgId: string;
  conversationId: string;
  name: string;
  /** Taken back. */
  recalled?: true;
}
