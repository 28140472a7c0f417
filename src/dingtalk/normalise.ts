import type { EnvelopeMessage, MessageEnvelope, Reply } from "../domain/envelope.ts";
import { readContent, unreadable } from "./content.ts";
import { Draft, type MediaReference } from "./draft.ts";
import { conversationOf, overQuotaOf, senderOf, UNKNOWN_ID } from "./identity.ts";
import { compact, flagOf, idOf, isoTime, stringOf, timeOf, type JsonObject } from "./json.ts";
import { mentionsOf, withoutOwnMention } from "./mentions.ts";
import { quoteOf } from "./quote.ts";
import { rawOf } from "./raw.ts";

export interface NormaliseContext {
  /** The bridge's name of the robot. */
  account: string;
  robotCode: string;
  /** Epoch ms. */
  receivedAt: number;
  /** Puts DingTalk's body, without its session webhook and its download codes, into `message.raw`. */
  includeRaw?: boolean;
  /** The robot's display name, when it is configured: its mention can then be told from a person's words. */
  robotName?: string;
}

/** A message ready to be sent; `buildEnvelope` adds what differs from try to try. */
export interface NormalisedMessage {
  /** `<account>:<msgId>`. */
  id: string;
  account: string;
  robotCode: string;
  /** Epoch ms. */
  receivedAt: number;
  message: EnvelopeMessage;
  reply: Reply;
  /** Its files and those that it quotes, see `mediaReferences`. */
  references: MediaReference[];
  /** Not to be POSTed: the month's quota is used up (dingtalk-protocol.md §2.10). */
  overQuota: boolean;
}

function readBody(body: JsonObject): { kind: string | undefined; draft: Draft } {
  const kind = stringOf(body.msgtype, body.msgType);
  const draft = new Draft(idOf(body.chatbotUserId));
  readContent(kind ?? "", { content: body.content, text: body.text, richText: body.richText }, draft);
  if (draft.writes === 0 && overQuotaOf(body) === undefined) draft.say(unreadable(kind ?? ""));
  return { kind, draft };
}

/**
 * Turns the body of a robot message (dingtalk-protocol.md §2) into the envelope's message. Never throws, for any JSON
 * object; its work is linear in the size of the body.
 */
export function normaliseMessage(body: JsonObject, context: NormaliseContext): NormalisedMessage {
  const { kind, draft } = readBody(body);
  const conversation = conversationOf(body);
  const sender = senderOf(body);
  const messageId = idOf(body.msgId) ?? UNKNOWN_ID;
  const { mentioned, others, onlyRobot } = mentionsOf(body, conversation.kind, draft.mentions);
  const inWords = conversation.kind === "group" && !draft.ownMention;
  const about = { robotName: context.robotName, richText: kind?.toLowerCase() === "richtext", onlyRobot };
  const id = `${context.account}:${messageId}`;
  const quoted = quoteOf(body);
  const personal = conversation.kind === "direct" && sender.staffId !== undefined;
  return {
    id,
    account: context.account,
    robotCode: context.robotCode,
    receivedAt: context.receivedAt,
    message: compact({
      id: messageId,
      kind,
      sentAt: isoTime(timeOf(body.createAt) ?? context.receivedAt),
      conversation,
      sender,
      mentioned,
      mentions: others,
      forwarded: flagOf(body.isForwardMsg) === true ? true : undefined,
      text: inWords ? withoutOwnMention(draft.text, about) : draft.text,
      parts: draft.parts,
      quote: quoted?.quote,
      raw: context.includeRaw === true ? rawOf(body) : undefined,
    }),
    reply: { to: personal ? `user:${sender.staffId}` : `conversation:${conversation.id}`, inReplyTo: id },
    references: [...draft.references(["parts"]), ...(quoted?.references ?? [])],
    overQuota: overQuotaOf(body) !== undefined,
  };
}

/**
 * The files of a message and of what it quotes, with the codes that fetch them, in the order of the parts. `path` leads
 * to the part in the `message` that `normaliseMessage` makes of the same body.
 */
export function mediaReferences(body: JsonObject): MediaReference[] {
  return [...readBody(body).draft.references(["parts"]), ...(quoteOf(body)?.references ?? [])];
}

/** The envelope of one try. `attempt` counts from 1; `now` is epoch ms. */
export function buildEnvelope(
  normalised: NormalisedMessage,
  { attempt, now }: { attempt: number; now: number },
): MessageEnvelope {
  const { id, account, robotCode, receivedAt, message, reply } = normalised;
  return {
    version: 1,
    id,
    type: "message",
    account,
    robotCode,
    attempt,
    receivedAt: isoTime(receivedAt),
    // The wall clock may have been set back since.
    ageMs: Math.max(0, Math.round(now - receivedAt)),
    message,
    reply,
  };
}
