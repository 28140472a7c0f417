import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { Type } from "typebox";
import { BridgeError } from "../domain/errors.ts";
import type { DeadLetters } from "../flows/dead-letters.ts";
import { DeadLetter, DeadLetterQuery, Id, ProblemSchema } from "./schemas.ts";

/** What could not be delivered, in either direction: `GET /v1/dead-letters`, replay, discard. */
export const deadLetterRoutes: FastifyPluginAsyncTypebox<{ deadLetters: DeadLetters }> = async (
  app,
  { deadLetters },
) => {
  app.get(
    "/v1/dead-letters",
    {
      schema: {
        summary: "Dead letters, newest first",
        querystring: DeadLetterQuery,
        response: { 200: Type.Object({ deadLetters: Type.Array(DeadLetter) }), "4xx": ProblemSchema },
      },
    },
    async (request) => {
      const { limit = "100", before } = request.query;
      const page = { limit: Number(limit), ...(before !== undefined && { before: Number(before) }) };
      return { deadLetters: deadLetters.list(request.scope, page) };
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      schema: {
        summary: "Try a dead letter again",
        params: Id,
        response: { 202: Type.Object({ id: Type.String() }), "4xx": ProblemSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await deadLetters.replay(id, request.scope))) missing(id);
      return reply.status(202).send({ id });
    },
  );

  app.delete(
    "/v1/dead-letters/:id",
    {
      schema: { summary: "Throw a dead letter away", params: Id, response: { 204: Type.Null(), "4xx": ProblemSchema } },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await deadLetters.discard(id, request.scope))) missing(id);
      return reply.status(204).send(null);
    },
  );
};

function missing(id: string): never {
  throw new BridgeError("not_found", `there is no dead letter ${JSON.stringify(id)}`);
}
