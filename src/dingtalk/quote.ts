import type { InnerQuote, Quote, QuotedSender } from "../domain/envelope.ts";
import { readContent } from "./content.ts";
import { Draft, type MediaReference } from "./draft.ts";
import { compact, flagOf, idOf, isoTime, objectOf, stringOf, timeOf, type JsonObject } from "./json.ts";

/** How far back quotes are followed: the quoted message, and what that one quoted. */
const MAX_QUOTES = 2;

function senderOf(message: JsonObject): QuotedSender | undefined {
  const staffId = idOf(message.senderStaffId);
  const dingtalkId = idOf(message.senderId);
  const sender = compact({
    id: staffId ?? dingtalkId,
    staffId,
    dingtalkId,
    name: stringOf(message.senderNick, message.senderName),
  });
  return Object.keys(sender).length === 0 ? undefined : sender;
}

/**
 * The quoted message of a body: `repliedMsg` beside `isReplyMsg` in `text`, in `content` (rich text), in the body
 * itself, or the legacy `quoteMessage`; as an object or as a JSON string. `announced`: the body says that it quotes.
 */
function find(body: JsonObject): { announced: boolean; quoted: unknown } {
  const holders = [objectOf(body.text), objectOf(body.content), body].filter((holder) => holder !== undefined);
  const replies = holders.filter((holder) => flagOf(holder.isReplyMsg) !== false);
  const found = [...replies.map((holder) => holder.repliedMsg), ...holders.map((holder) => holder.quoteMessage)];
  return {
    announced: holders.some((holder) => flagOf(holder.isReplyMsg) === true),
    quoted: found.find((value) => objectOf(value) !== undefined) ?? stringOf(...found),
  };
}

/** A quote and the files that were quoted. */
export interface QuoteRead {
  quote: Quote;
  references: MediaReference[];
}

function read(body: JsonObject, quotesLeft: number, path: readonly string[]): QuoteRead | undefined {
  const { announced, quoted } = find(body);
  const originalId = idOf(body.originalMsgId);
  const processQueryKey = idOf(body.originalProcessQueryKey);
  if (quoted === undefined && originalId === undefined && processQueryKey === undefined && !announced) return undefined;
  // A string that is no object is all there is of the quoted message.
  const message = objectOf(quoted) ?? { text: quoted };
  const kind = stringOf(message.msgType, message.msgtype);
  const draft = new Draft();
  const fields = { content: message.content, text: message.text, richText: message.richText };
  // An unreadable card is told by its kind and id alone: whoever kept what was sent can find it again.
  readContent(kind ?? "", fields, draft);
  const createdAt = timeOf(message.createdAt, message.createAt);
  const inner = quotesLeft > 1 ? read(message, quotesLeft - 1, [...path, "quote"]) : undefined;
  const quote = compact({
    messageId: idOf(message.msgId, message.messageId) ?? originalId,
    processQueryKey,
    kind,
    sender: senderOf(message),
    sentAt: createdAt === undefined ? undefined : isoTime(createdAt),
    text: draft.text,
    parts: draft.parts,
    quote: inner?.quote satisfies InnerQuote | undefined,
  });
  return { quote, references: [...draft.references([...path, "parts"]), ...(inner?.references ?? [])] };
}

/**
 * What the message quotes (dingtalk-protocol.md §2.8), or undefined. Every client sends less of it than the next one, so
 * a quote may be an id alone. Never throws.
 */
export function quoteOf(body: JsonObject): QuoteRead | undefined {
  return read(body, MAX_QUOTES, ["quote"]);
}
