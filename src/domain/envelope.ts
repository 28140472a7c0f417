import { Type, type Static, type TObject, type TProperties } from "typebox";

/*
 * The gateway message envelope, version 1. It grows by optional fields only, so no object here forbids
 * properties it does not name: an older reader must accept what a newer bridge writes.
 */

const text = (description: string) => Type.String({ description });
const optionalText = (description: string) => Type.Optional(Type.String({ description }));
const time = (description: string) => Type.String({ format: "date-time", description });

const ConversationSchema = Type.Object(
  {
    kind: Type.Union([Type.Literal("direct"), Type.Literal("group")], {
      description: "`direct` is a conversation of one person with the robot.",
    }),
    id: text("DingTalk's conversationId: opaque, case-sensitive, never shortened."),
    title: optionalText("The group's name; absent in direct conversations."),
  },
  { description: "Where it was said." },
);

const SenderSchema = Type.Object(
  {
    id: text("The staffId, else the encrypted senderId; `unknown` when DingTalk sent neither."),
    staffId: optionalText(
      "The enterprise user id. Absent for people outside the organisation and while the robot has no published version.",
    ),
    dingtalkId: optionalText("DingTalk's encrypted id of the person, opaque and per robot."),
    unionId: optionalText("The person's id across the apps of one organisation, when DingTalk sends it."),
    name: optionalText("The display name in the conversation."),
    corpId: optionalText("The organisation the person belongs to."),
    isAdmin: Type.Optional(Type.Boolean({ description: "Whether the person administers the organisation." })),
  },
  { description: "Who said it." },
);

const MentionSchema = Type.Object(
  {
    staffId: optionalText("The enterprise user id, when known."),
    dingtalkId: optionalText("DingTalk's encrypted id, when known."),
    unionId: optionalText("The union id, when known."),
    name: optionalText("The name as it stands in the text after the @, when known."),
  },
  { description: "One mentioned person; at least one id or the name is present." },
);

const MediaRefSchema = Type.Object(
  {
    id: text("The bridge's id of the stored file."),
    url: text("Where the gateway fetches the file from the bridge; needs the bearer token."),
    mimeType: text("Found from the content, not from the name."),
    bytes: Type.Integer({ minimum: 0, description: "Size of the stored file." }),
    fileName: optionalText("The sender's file name."),
    durationMs: Type.Optional(Type.Integer({ minimum: 0, description: "Length of a voice message or a video." })),
  },
  { description: "A file that the bridge has stored." },
);

const PartErrorSchema = Type.Object(
  {
    code: text("Closed word for the reason, such as `media_not_fetched` or `media_too_large`."),
    detail: text("The reason in plain English."),
  },
  { description: "Why there is no file." },
);

const TextPartSchema = Type.Object(
  {
    type: Type.Literal("text", { description: "Words." }),
    text: text("The words as they came: not trimmed, mentions included."),
  },
  { description: "Words of the message." },
);

const MediaPartSchema = Type.Object(
  {
    type: Type.Union([Type.Literal("image"), Type.Literal("file"), Type.Literal("audio"), Type.Literal("video")], {
      description: "What the sender sent.",
    }),
    media: Type.Optional(MediaRefSchema),
    error: Type.Optional(PartErrorSchema),
    recognition: optionalText("DingTalk's own speech recognition of a voice message."),
    fileName: optionalText("The sender's file name, also when the file could not be fetched."),
    durationMs: Type.Optional(
      Type.Integer({ minimum: 0, description: "Length of a voice message or a video, also without the file." }),
    ),
  },
  { description: "A file of the message: either `media` or `error` is present." },
);

export const MessagePartSchema = Type.Union([TextPartSchema, MediaPartSchema], {
  description: "One piece of a message, in the order of the message.",
});

const QuotedSenderSchema = Type.Object(
  {
    id: optionalText("The staffId, else the encrypted id."),
    staffId: optionalText("The enterprise user id, when known."),
    dingtalkId: optionalText("DingTalk's encrypted id, when known."),
    name: optionalText("The display name, when known."),
  },
  { description: "Who wrote the quoted message; every field is optional because clients differ." },
);

const quoteFields = {
  messageId: optionalText("DingTalk's id of the quoted message; sometimes the only thing that is known of it."),
  processQueryKey: optionalText("DingTalk's key of the quoted message when the robot itself sent it."),
  kind: optionalText("DingTalk's msgtype of the quoted message, as it came."),
  sender: Type.Optional(QuotedSenderSchema),
  sentAt: Type.Optional(time("When the quoted message was sent.")),
  text: text("Plain text of the quoted message, trimmed; empty when DingTalk did not send it."),
  parts: Type.Array(MessagePartSchema, { description: "The quoted message's pieces, in order." }),
};

const InnerQuoteSchema = Type.Object(quoteFields, {
  description: "What the quoted message itself quoted. Quotes further back are left out.",
});

const QuoteSchema = Type.Object(
  { ...quoteFields, quote: Type.Optional(InnerQuoteSchema) },
  { description: "The message that this one answers." },
);

export const EnvelopeMessageSchema = Type.Object(
  {
    id: text("DingTalk's msgId: opaque, the same on every push of one message."),
    kind: optionalText("DingTalk's msgtype, as it came."),
    sentAt: time("When the sender's client sent it."),
    conversation: ConversationSchema,
    sender: SenderSchema,
    mentioned: Type.Boolean({ description: "The robot was mentioned; always true in a direct conversation." }),
    mentions: Type.Array(MentionSchema, { description: "Other people that the message mentions." }),
    forwarded: Type.Optional(Type.Boolean({ description: "The message is a merged forward." })),
    text: text("Plain text of the whole message: trimmed, without the robot's mention, with speech recognition."),
    parts: Type.Array(MessagePartSchema, { description: "The message's pieces, in order, nothing left out." }),
    quote: Type.Optional(QuoteSchema),
    raw: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          "DingTalk's own body without its session webhook and download codes; only with `gateway.includeRaw`.",
      }),
    ),
  },
  { description: "What a person said to the robot." },
);

const CardActionSchema = Type.Object(
  {
    outTrackId: text("The card's id, chosen by the bridge."),
    actionId: text("Which control was used, such as `stop`."),
    params: Type.Record(Type.String(), Type.Unknown(), { description: "What the control carried." }),
    user: text("The staffId of the person who used it."),
    conversation: Type.Optional(ConversationSchema),
  },
  { description: "Somebody used a control of a card." },
);

const BridgeEventSchema = Type.Object(
  {
    type: text("DingTalk's event type, such as `robot_msg_recall`."),
    id: text("DingTalk's event id."),
    at: time("When it happened."),
    data: Type.Record(Type.String(), Type.Unknown(), { description: "DingTalk's own event body." }),
  },
  { description: "Something that happened at DingTalk." },
);

const ReplySchema = Type.Object(
  {
    to: text(
      "The `to` of an answer: `user:<staffId>` in a direct conversation when there is one, else `conversation:<id>`.",
    ),
    inReplyTo: text("The `inReplyTo` of an answer: the envelope's id."),
  },
  { description: "Where an answer goes." },
);

const commonFields = {
  version: Type.Literal(1, { description: "Grows by optional fields only." }),
  id: text("Account, a colon, DingTalk's id of the message, event or card push. The same on every try."),
  account: text("The bridge's name for the robot."),
  robotCode: text("DingTalk's code of the robot."),
  attempt: Type.Integer({ minimum: 1, description: "How often this envelope was sent, this time included." }),
  receivedAt: time("When the bridge received it."),
  ageMs: Type.Integer({ minimum: 0, description: "Milliseconds between receiving it and sending this envelope." }),
};

/** The common fields first, in the order in which the documentation shows them. */
const envelopeOf = <const Own extends TProperties>(own: Own, description: string): TObject<typeof commonFields & Own> =>
  Type.Object({ ...commonFields, ...own }, { description });

export const MessageEnvelopeSchema = envelopeOf(
  {
    type: Type.Literal("message", { description: "Somebody wrote to the robot." }),
    message: EnvelopeMessageSchema,
    reply: ReplySchema,
  },
  "A message.",
);

const CardActionEnvelopeSchema = envelopeOf(
  {
    type: Type.Literal("card.action", { description: "Somebody used a control of a card." }),
    action: CardActionSchema,
    reply: Type.Optional(ReplySchema),
  },
  "A card action.",
);

const EventEnvelopeSchema = envelopeOf(
  {
    type: Type.Literal("event", { description: "Something happened at DingTalk." }),
    event: BridgeEventSchema,
    reply: Type.Optional(ReplySchema),
  },
  "An event.",
);

export const EnvelopeSchema = Type.Union([MessageEnvelopeSchema, CardActionEnvelopeSchema, EventEnvelopeSchema], {
  description: "What the bridge POSTs to the gateway, version 1. Readers ignore fields they do not know.",
});

export type Conversation = Static<typeof ConversationSchema>;
export type Sender = Static<typeof SenderSchema>;
export type Mention = Static<typeof MentionSchema>;
export type MediaRef = Static<typeof MediaRefSchema>;
export type TextPart = Static<typeof TextPartSchema>;
export type MediaPart = Static<typeof MediaPartSchema>;
export type MessagePart = TextPart | MediaPart;
export type InnerQuote = Static<typeof InnerQuoteSchema>;
export type Quote = Static<typeof QuoteSchema>;
export type QuotedSender = Static<typeof QuotedSenderSchema>;
export type EnvelopeMessage = Static<typeof EnvelopeMessageSchema>;
export type CardAction = Static<typeof CardActionSchema>;
export type BridgeEvent = Static<typeof BridgeEventSchema>;
export type Reply = Static<typeof ReplySchema>;
export type MessageEnvelope = Static<typeof MessageEnvelopeSchema>;
export type CardActionEnvelope = Static<typeof CardActionEnvelopeSchema>;
export type EventEnvelope = Static<typeof EventEnvelopeSchema>;

/** Tell the three apart by `type`. */
export type Envelope = MessageEnvelope | CardActionEnvelope | EventEnvelope;
