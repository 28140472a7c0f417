import { Type } from "typebox";
import { Content } from "./schemas-content.ts";

const MENTION_LIMIT = 50;

export const MessageBody = Type.Object(
  {
    account: Type.Optional(
      Type.String({ minLength: 1, description: "Needed only when several exist and inReplyTo names none" }),
    ),
    to: Type.String({
      pattern: "^(conversation|user):\\S+$",
      maxLength: 512,
      description: "conversation:<conversationId> or user:<staffId>; ids are case-sensitive",
    }),
    inReplyTo: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: "Envelope id this answers" })),
    content: Content,
    mentions: Type.Optional(
      Type.Object(
        {
          userIds: Type.Optional(
            Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: MENTION_LIMIT }),
          ),
          all: Type.Optional(Type.Boolean()),
        },
        {
          additionalProperties: false,
          description:
            "Text, Markdown, captions and action cards: while the conversation's webhook is fresh. Cards: always, where the template says so",
        },
      ),
    ),
    ttlMs: Type.Optional(
      Type.Integer({ minimum: 1_000, description: "Not sent later than this after being accepted" }),
    ),
  },
  { additionalProperties: false },
);

const Status = Type.Unsafe<"queued" | "sending" | "retrying" | "delivered" | "cancelled" | "dead">({
  type: "string",
  enum: ["queued", "sending", "retrying", "delivered", "cancelled", "dead"],
});

const ErrorInfo = Type.Object({ code: Type.String(), detail: Type.String() });

export const MessageState = Type.Object({
  id: Type.String(),
  account: Type.String(),
  status: Status,
  uncertain: Type.Optional(
    Type.Boolean({ description: "An attempt ended without an answer: a duplicate is possible" }),
  ),
  attempts: Type.Integer(),
  outTrackId: Type.Optional(Type.String({ description: "Of the card: updates name it" })),
  parts: Type.Array(
    Type.Object({
      route: Type.String({ description: "webhook or open-api" }),
      receipt: Type.Optional(Type.String({ description: "processQueryKey of the Open API" })),
      at: Type.String({ format: "date-time" }),
    }),
  ),
  deliveredParts: Type.Optional(Type.String({ description: "k of n" })),
  error: Type.Optional(ErrorInfo),
});

/** Without waiting only the first three are there; after a wait the whole state. */
export const Accepted = Type.Intersect([
  Type.Object({ id: Type.String(), duplicate: Type.Boolean(), status: Status }),
  Type.Partial(Type.Omit(MessageState, ["id", "status"])),
]);

export const DeadLetter = Type.Object({
  id: Type.String(),
  queue: Type.String({ description: "inbox or outbox" }),
  account: Type.String(),
  kind: Type.String(),
  error: ErrorInfo,
  attempts: Type.Integer(),
  uncertain: Type.Boolean(),
  createdAt: Type.String({ format: "date-time" }),
  deadAt: Type.String({ format: "date-time" }),
  cursor: Type.Integer({ description: "Pass as `before` to go on" }),
});

export const ProblemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String(),
    detail: Type.String(),
    mend: Type.Optional(Type.String()),
  },
  { title: "Problem", description: "RFC 9457 problem document; `code` is one of a closed list" },
);

export const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: 512 }) });
/** Strings, because nothing is coerced: a number in quotes in a body must stay an error. */
export const DeadLetterQuery = Type.Object({
  limit: Type.Optional(Type.String({ pattern: "^([1-9]\\d?|[1-4]\\d\\d|500)$", description: "1 to 500, default 100" })),
  before: Type.Optional(Type.String({ pattern: "^[1-9]\\d{0,14}$", description: "A cursor of the list" })),
});
