import { randomUUID } from "node:crypto";
import { parseTarget } from "../domain/target.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import { type Entry, type NewEntry, cardLane, conversationLane, userLane } from "../queue/store.ts";
import { type Mentions, type StoredMessage, partsOf } from "./outbound-content.ts";

export type StreamOutcome = "done" | "failed" | "aborted";

/** Kind of the outbox entries, in lanes of their own, that bring a card to its end. */
export const CARD_FINISH = "card.finish";

/** What such an entry holds: all it needs, for it may be replayed when its stream is long forgotten. */
export interface CardFinish extends StoredMessage {
  streamId: string;
  outTrackId: string;
  templateId: string;
  key: string;
  /** Stays the same however often it is tried: DingTalk takes a second last update for another one (dingtalk-protocol.md §4.3). */
  guid: string;
  outcome: StreamOutcome;
  /** Markdown that the card shows for good. */
  text: string;
  /** It is not known whether the card was created. */
  creating: boolean;
  /** The text goes out as a message without it: the card, if there is one, has to end, no more. */
  abandoned: boolean;
  /** Id and format of the message that the text is sent as if the card cannot show it. */
  messageId: string;
  format: StreamRow["format"];
}

export const messageId = (): string => `out_${randomUUID()}`;

/** Undefined for what is no target. */
export function laneOf(account: string, to: string): string | undefined {
  const target = parseTarget(to);
  if (!target) return undefined;
  return target.kind === "conversation" ? conversationLane(account, target.id) : userLane(account, target.id);
}

/** How repetitions of a stream's message are recognised; `part` tells its messages apart. */
export function keyOf(streamId: string, part?: "card" | "text" | "cut" | "abandoned"): string {
  return part === undefined ? `stream:${streamId}` : `stream:${streamId}/${part}`;
}

/** Ids of the bridge's own files that a text shows. */
export type FilesIn = (account: string, content: { type: "markdown" | "text"; text: string }) => string[];

export interface MessageDraft {
  id: string;
  /** Without the account. */
  key: string;
  text: string;
  mentions?: Mentions | undefined;
  /** It is the rest of a text that the card of this stream shows the beginning of. */
  belowCardOf?: string | undefined;
  at: number;
}

type Addressed = Pick<StreamRow, "account" | "to" | "inReplyTo" | "format">;

/** An ordinary message; its lane is the conversation's, as its target names it. */
export function messageEntry(stream: Addressed, draft: MessageDraft, filesIn: FilesIn): NewEntry {
  const { account, to, inReplyTo, format } = stream;
  const { id, key, text, mentions, belowCardOf, at } = draft;
  const content = { type: format, text };
  return {
    queue: "outbox",
    id,
    key: `${account}\n${key}`,
    account,
    lane: laneOf(account, to) ?? conversationLane(account, to),
    kind: format,
    inReplyTo,
    body: {
      to,
      ...(inReplyTo !== undefined && { inReplyTo }),
      ...(mentions && { mentions }),
      ...(belowCardOf !== undefined && { afterCard: { streamId: belowCardOf, state: "waits" } }),
    } satisfies StoredMessage,
    createdAt: at,
    parts: partsOf(content, id),
    media: filesIn(account, content),
  };
}

type OfStream = Addressed & Pick<StreamRow, "id" | "outTrackId" | "templateId" | "templateKey">;

/** The entry that brings the stream's card to its end. */
export function finishEntry(
  stream: OfStream,
  end: { text: string; outcome: StreamOutcome; creating: boolean; abandoned?: boolean; at: number },
): NewEntry {
  const { account, to, inReplyTo, format, id: streamId, outTrackId, templateId, templateKey } = stream;
  const { text, outcome, creating, abandoned = false, at } = end;
  return {
    queue: "outbox",
    id: messageId(),
    key: `${account}\n${keyOf(streamId, abandoned ? "abandoned" : "card")}`,
    account,
    lane: cardLane(account, outTrackId),
    kind: CARD_FINISH,
    inReplyTo,
    body: {
      to,
      ...(inReplyTo !== undefined && { inReplyTo }),
      streamId,
      outTrackId,
      templateId,
      key: templateKey,
      guid: randomUUID(),
      outcome,
      text,
      creating,
      abandoned,
      messageId: messageId(),
      format,
    } satisfies CardFinish,
    createdAt: at,
  };
}

export const cardFinishOf = (entry: Entry): CardFinish => entry.body as CardFinish;
