import { Type } from "typebox";
import { TEXT_LIMIT } from "./schemas-content.ts";
import { MessageBody, MessageState } from "./schemas.ts";

const { account, to, inReplyTo, mentions } = MessageBody.properties;
const strict = { additionalProperties: false } as const;

const SHORTEST_IDLE_MS = 1_000;
const LONGEST_IDLE_MS = 24 * 3_600_000;
const STATUS_LIMIT = 100;

const oneOf = <T extends string>(values: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: "string", enum: values, description });

export const StreamBody = Type.Object(
  {
    account,
    to,
    inReplyTo,
    idleTimeoutMs: Type.Optional(
      Type.Integer({
        minimum: SHORTEST_IDLE_MS,
        maximum: LONGEST_IDLE_MS,
        description:
          "Finished with what is known when nothing is heard for so long; by default, and at most, `reply.idleTimeoutMs`",
      }),
    ),
    format: Type.Optional(
      oneOf(["auto", "card", "markdown", "text"], "How this reply is shown; default: the account's `reply.format`"),
    ),
  },
  strict,
);

export const StreamOpened = Type.Object({
  id: Type.String(),
  mode: oneOf(
    ["card", "buffered"],
    "`card`: it is to be seen while it grows, as far as DingTalk lets it; `buffered`: it is sent when it is finished",
  ),
});

export const StreamUpdate = Type.Object(
  {
    seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "The highest one wins" }),
    text: Type.String({ maxLength: TEXT_LIMIT, description: "The whole text so far, Markdown" }),
    status: Type.Optional(Type.String({ maxLength: STATUS_LIMIT, description: "What is being done, in a few words" })),
  },
  strict,
);

export const StreamFinish = Type.Object(
  {
    text: Type.String({
      maxLength: TEXT_LIMIT,
      description: "The whole text. Empty: the card keeps its last one, and where there is none nothing is sent",
    }),
    outcome: oneOf(["done", "failed", "aborted"], "What became of the reply"),
    account,
    to: Type.Optional({
      ...to,
      description: "Where the text goes, once, as a message when the stream is closed already or unknown",
    }),
    inReplyTo,
    mentions,
  },
  strict,
);

export const StreamFinished = Type.Object({
  id: Type.String(),
  duplicate: Type.Boolean({ description: "It was finished before, with the same body" }),
  status: MessageState.properties.status,
});

export const ActivityBody = Type.Object(
  {
    inReplyTo: Type.String({ minLength: 1, maxLength: 512, description: "Envelope id that is being answered" }),
    state: oneOf(["working", "idle"], "May be said again and again; ten minutes without a word count as idle"),
  },
  strict,
);
