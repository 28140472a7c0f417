import type { EnvelopeMessage, MediaRef, MessagePart, Quote } from "../domain/envelope.ts";
import { compact, isoTime } from "../dingtalk/json.ts";
import type { SentPart } from "../queue/store.ts";
import { type MediaContent, type OutboundContent, isMediaContent } from "./outbound-content.ts";

export interface QuoteSources {
  /** What the robot sent under this `processQueryKey`. */
  sent(processQueryKey: string): SentPart | undefined;
  /** What somebody said earlier in the same conversation, by DingTalk's id of the message. */
  said(messageId: string): Pick<EnvelopeMessage, "kind" | "sentAt" | "sender" | "text" | "parts"> | undefined;
  /** A stored file of the account. */
  file(mediaId: string): MediaRef | undefined;
}

/** Something of the quoted message can be read. */
function isReadable({ text, parts }: Pick<Quote, "text" | "parts">): boolean {
  return (
    text !== "" || parts.some((part) => (part.type === "text" ? part.text.trim() !== "" : part.media !== undefined))
  );
}

/** Values of a card's variables that are no words: flags, numbers, structures. */
const NO_WORDS = /^\s*$|^(?:true|false|null|-?\d+(?:\.\d+)?)$|^\s*[[{]/;

/** The words of one part that the robot sent. */
function sentText(body: OutboundContent): string {
  switch (body.type) {
    case "text":
    case "markdown":
      return body.text;
    case "link":
      return [body.title, body.text, body.url].join("\n");
    case "actionCard":
      return [body.title, body.text, ...body.buttons.map(({ title, url }) => `${title}: ${url}`)].join("\n");
    case "card":
    case "card.update":
      return Object.values(body.params)
        .filter((value) => !NO_WORDS.test(value))
        .join("\n");
    default:
      return "";
  }
}

function sentFile({ type, media, fileName }: MediaContent, sources: QuoteSources): MessagePart {
  const file = "id" in media ? sources.file(media.id) : undefined;
  if (file) return compact({ type, media: file, fileName });
  const error = { code: "media_expired", detail: "the bridge does not keep this file any more" };
  return compact({ type, error, fileName });
}

/**
 * The quote with what the bridge itself knows of the quoted message, where DingTalk sent nothing that can be read of it: of the
 * robot's own messages it often sends the `processQueryKey` alone, of people's in groups the id alone (dingtalk-protocol.md §2.8).
 */
export function completeQuote(quote: Quote, sources: QuoteSources): Quote {
  if (isReadable(quote)) return quote;
  const sent = quote.processQueryKey === undefined ? undefined : sources.sent(quote.processQueryKey);
  if (sent) {
    const body = sent.body as OutboundContent;
    const text = sentText(body).trim();
    const words: MessagePart[] = text === "" ? [] : [{ type: "text", text }];
    const parts = isMediaContent(body) ? [sentFile(body, sources)] : words;
    return compact({ ...quote, kind: quote.kind ?? body.type, sentAt: quote.sentAt ?? isoTime(sent.at), text, parts });
  }
  const said = quote.messageId === undefined ? undefined : sources.said(quote.messageId);
  if (!said) return quote;
  const { id, staffId, dingtalkId, name } = said.sender;
  return compact({
    ...quote,
    kind: quote.kind ?? said.kind,
    sender: quote.sender ?? compact({ id, staffId, dingtalkId, name }),
    sentAt: quote.sentAt ?? said.sentAt,
    text: said.text,
    parts: said.parts,
  });
}
