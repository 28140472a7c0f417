import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { Type } from "typebox";
import type { Erasures } from "../flows/erasure.ts";
import { Id, ProblemSchema } from "./schemas.ts";

const count = (description: string) => Type.Integer({ minimum: 0, description });

const Report = Type.Object({
  messages: count("From them"),
  replies: count("To them"),
  streams: count("Replies that grew"),
  deadLetters: count("Of both: those that could have been replayed"),
  cancelled: count("Of both: those that were waiting"),
  others: count("Messages of others that named them by an id: what was said in these is deleted too"),
  conversations: count("Remembered conversations"),
  files: count("Stored files"),
  left: count("Messages of others that name them and are not finished: left for another call"),
  compacted: Type.Boolean({ description: "Nothing is left in unused places of the database; false: call again" }),
  backups: Type.Array(Type.String(), {
    description: "Copies in the data directory from before an upgrade: they may hold it still",
  }),
});

const Query = Type.Object({
  openToo: Type.Optional(
    Type.Union([Type.Literal("true"), Type.Literal("false")], {
      description: "Also what waits; without it that is a 409. What is under way is a 409 in any case",
    }),
  ),
});

/** `DELETE /v1/people/:id`, `DELETE /v1/conversations/:id`: what is stored of them. */
export const peopleRoutes: FastifyPluginAsyncTypebox<{ erasures: Erasures }> = async (app, { erasures }) => {
  const route = (path: string, kind: "user" | "conversation", summary: string): void => {
    app.delete(
      path,
      {
        schema: {
          summary,
          description:
            "Texts, names, files, growing replies, dead letters and conversations, in the caller's accounts. Ids of messages stay, so " +
            "that a repetition is still recognised. The bridge stands still for about 5 ms for each stored megabyte. Logs are not touched.",
          params: Id,
          querystring: Query,
          response: { 200: Report, "4xx": ProblemSchema, "5xx": ProblemSchema },
        },
      },
      async (request) =>
        erasures.erase(
          { kind, id: request.params.id },
          { scope: request.scope, openToo: request.query.openToo === "true" },
        ),
    );
  };
  route("/v1/people/:id", "user", "Delete what is stored of a person, by staffId");
  route("/v1/conversations/:id", "conversation", "Delete what is stored of a conversation");
};
