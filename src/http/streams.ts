import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { Type } from "typebox";
import type { Indicator } from "../flows/indicator.ts";
import type { Streams } from "../flows/streams.ts";
import {
  ActivityBody,
  StreamBody,
  StreamFinish,
  StreamFinished,
  StreamOpened,
  StreamUpdate,
} from "./schemas-streams.ts";
import { Id, ProblemSchema } from "./schemas.ts";

export interface StreamRoutesOptions {
  streams: Pick<Streams, "open" | "put" | "finish">;
  activity: Pick<Indicator, "activity">;
}

const Nothing = Type.Null({ description: "Taken" });

/** Replies that grow, and the thinking indicator (design §6). */
export const streamRoutes: FastifyPluginAsyncTypebox<StreamRoutesOptions> = async (app, { streams, activity }) => {
  app.post(
    "/v1/streams",
    {
      schema: {
        summary: "Begin a reply that grows",
        description:
          "201 once it is stored. Nothing is to be seen before the first text. A stream of which nothing is heard for " +
          "`idleTimeoutMs` is finished with what is known.",
        body: StreamBody,
        response: { 201: StreamOpened, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
    },
    async (request, reply) => reply.status(201).send(await streams.open(request.body, request.scope)),
  );

  app.put(
    "/v1/streams/:id",
    {
      schema: {
        summary: "The reply's text so far",
        description:
          "Never waits for DingTalk and is not durable: what is stored is what was shown. The same text again is a sign of life.",
        params: Id,
        body: StreamUpdate,
        response: { 204: Nothing, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
    },
    async (request, reply) => {
      streams.put(request.params.id, request.body, request.scope);
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/streams/:id/finish",
    {
      schema: {
        summary: "The reply's last text",
        description:
          "202 once it is stored. Again with the same body: `duplicate`; with another: 409. With `to`, a stream that is " +
          "closed or unknown becomes one ordinary message.",
        params: Id,
        body: StreamFinish,
        response: { 202: StreamFinished, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
    },
    async (request, reply) => {
      const finished = await streams.finish(request.params.id, request.body, request.scope);
      return reply.status(202).send(finished);
    },
  );

  app.put(
    "/v1/activity",
    {
      schema: {
        summary: "The assistant works on an envelope, or no longer",
        description: "Shows and takes back the thinking reaction under the person's message. Returns at once.",
        body: ActivityBody,
        response: { 204: Nothing, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
    },
    async (request, reply) => {
      activity.activity(request.body.inReplyTo, request.body.state, request.scope);
      return reply.status(204).send(null);
    },
  );
};
