import { renderForMessage } from "../domain/card-text.ts";
import type { AfterCard } from "../queue/card-texts.ts";
import { type TextPart, splitText, titleOf } from "../domain/text.ts";

export type MediaType = "image" | "file" | "audio" | "video";

/** A file: one of the bridge's own by its id, or an address that it is fetched from when the message is sent. */
export type MediaReference = { id: string } | { url: string };

export interface MediaContent {
  type: MediaType;
  media: MediaReference;
  fileName?: string;
  /** Of a video; a plain picture when there is none. */
  cover?: MediaReference;
}

export interface LinkContent {
  type: "link";
  title: string;
  text: string;
  url: string;
  imageUrl?: string;
}

export interface ActionCardContent {
  type: "actionCard";
  title: string;
  text: string;
  buttons: { title: string; url: string }[];
  layout?: "vertical" | "horizontal";
}

type Params = Record<string, unknown>;

/** `templateId` makes a card, `outTrackId` updates one. */
export interface CardRequest {
  type: "card";
  templateId?: string;
  outTrackId?: string;
  params: Params;
  privateParams?: Record<string, Params>;
  summary?: string;
}

/** What a message says, as the API takes it; its shape is checked by the route. */
export type MessageContent =
  | { type: "text"; text: string }
  | { type: "markdown"; text: string; title?: string }
  | (MediaContent & { caption?: string })
  | LinkContent
  | ActionCardContent
  | CardRequest;

/** Values of a card's variables are strings on the wire (dingtalk-protocol.md §4.2). */
interface CardValues {
  outTrackId: string;
  params: Record<string, string>;
  /** By staff id. */
  privateParams?: Record<string, Record<string, string>>;
}

export interface NewCardContent extends CardValues {
  type: "card";
  templateId: string;
  summary?: string;
}

export interface CardUpdateContent extends CardValues {
  type: "card.update";
}

/** One part as it is stored and sent. */
export type OutboundContent =
  | { type: "text"; text: string }
  | ({ type: "markdown" } & TextPart)
  | MediaContent
  | LinkContent
  | ActionCardContent
  | NewCardContent
  | CardUpdateContent;

export interface Mentions {
  userIds?: string[];
  all?: boolean;
}

/** What an outbox entry holds. */
export interface StoredMessage {
  to: string;
  inReplyTo?: string;
  mentions?: Mentions;
  /** Epoch milliseconds after which the message is worthless to its sender. */
  expiresAt?: number;
  afterCard?: AfterCard;
}

const ENTRY_PREFIX = "out_";
const CARD_PREFIX = "br_";

/** A card is named after the message that makes it: sent twice, it is still one card (dingtalk-protocol.md §4.2). */
export const cardOfEntry = (entryId: string): string => `${CARD_PREFIX}${entryId.slice(ENTRY_PREFIX.length)}`;

/** The message that made a card of this name, if it was one of the bridge's. */
export const entryOfCard = (outTrackId: string): string | undefined =>
  outTrackId.startsWith(CARD_PREFIX) ? `${ENTRY_PREFIX}${outTrackId.slice(CARD_PREFIX.length)}` : undefined;

/** The entry's kind: what the caller asked for, an update told from the card itself. */
export function kindOf(content: MessageContent): string {
  return content.type === "card" && content.outTrackId !== undefined ? "card.update" : content.type;
}

export function isMediaContent<C extends { type: string }>(content: C): content is Extract<C, { type: MediaType }> {
  return ["image", "file", "audio", "video"].includes(content.type);
}

/** Whether somebody can be @-ed in it: not in a file, and not in a link (dingtalk-protocol.md §3.2). */
export function canMention({ type }: OutboundContent): boolean {
  return type === "text" || type === "markdown" || type === "actionCard" || type === "card";
}

/** A message as the parts that are sent one by one. `entryId` names a new card. */
export function partsOf(content: MessageContent, entryId: string): OutboundContent[] {
  switch (content.type) {
    case "text":
      return splitText(content.text, { title: "", format: "text" }).map(({ text }) => ({
        type: "text" as const,
        text,
      }));
    case "markdown":
      return markdownParts(content.text, content.title);
    case "image":
    case "file":
    case "audio":
    case "video": {
      const { caption, ...media } = content;
      return [media, ...(caption === undefined ? [] : markdownParts(caption))];
    }
    case "link":
    case "actionCard":
      return [content];
    case "card":
      return [cardPart(content, entryId)];
  }
}

function markdownParts(text: string, title = titleOf(text)): OutboundContent[] {
  // Rendered before it is split: line breaks make a text longer.
  return splitText(renderForMessage(text), { title, format: "markdown" }).map((part) => ({
    type: "markdown" as const,
    ...part,
  }));
}

function cardPart(card: CardRequest, entryId: string): NewCardContent | CardUpdateContent {
  const { templateId = "", outTrackId, summary } = card;
  const privateParams =
    card.privateParams &&
    Object.fromEntries(Object.entries(card.privateParams).map(([user, params]) => [user, asStrings(params)]));
  const values = { params: asStrings(card.params), ...(privateParams && { privateParams }) };
  if (outTrackId !== undefined) return { type: "card.update", outTrackId, ...values };
  const told = summary === undefined ? {} : { summary };
  return { type: "card", outTrackId: cardOfEntry(entryId), templateId, ...values, ...told };
}

function asStrings(params: Params): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}
