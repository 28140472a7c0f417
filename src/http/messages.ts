import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { BridgeError } from "../domain/errors.ts";
import type { Messages } from "../flows/messages.ts";
import { CONTENT_TYPES } from "./schemas-content.ts";
import { Accepted, Id, MessageBody, MessageState, ProblemSchema } from "./schemas.ts";

/** Longest time a caller may have a connection kept open by `Prefer: wait`. */
const LONGEST_WAIT_S = 60;

/** `POST /v1/messages`, `GET` and `DELETE /v1/messages/:id` (design §6). */
export const messageRoutes: FastifyPluginAsyncTypebox<{ messages: Messages }> = async (app, { messages }) => {
  app.post(
    "/v1/messages",
    {
      schema: {
        summary: "Send a message to DingTalk",
        description:
          "202 once it is stored. `Idempotency-Key`: the same key never makes a second message. `Prefer: wait=N`: 200 with " +
          "the final state, or 202 when N seconds were not enough.",
        body: MessageBody,
        response: { 200: Accepted, 202: Accepted, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
      preValidation: async (request) => {
        const type = contentType(request.body);
        if (type !== undefined && !CONTENT_TYPES.includes(type)) {
          throw new BridgeError(
            "content_type_not_supported",
            `content.type: ${JSON.stringify(type)} is not supported by this release; supported: ${CONTENT_TYPES.join(", ")}`,
          );
        }
      },
    },
    async (request, reply) => {
      const idempotencyKey = readKey(request.headers["idempotency-key"]);
      const waitS = readWait(request.headers["prefer"]);
      const accepted = await messages.accept(request.body, {
        scope: request.scope,
        ...(idempotencyKey !== undefined && { idempotencyKey }),
      });
      if (waitS === undefined) return reply.status(202).send(accepted);
      reply.header("preference-applied", `wait=${waitS}`);
      // A stop of the daemon releases whoever waits (Messages.releaseWaiters).
      const view = await messages.wait(accepted.id, request.scope, waitS * 1_000, closed(reply.raw));
      const final = view && (view.status === "delivered" || view.status === "cancelled" || view.status === "dead");
      return reply.status(final ? 200 : 202).send({ ...accepted, ...view });
    },
  );

  app.get(
    "/v1/messages/:id",
    { schema: { summary: "State of a message", params: Id, response: { 200: MessageState, "4xx": ProblemSchema } } },
    async (request) => messages.view(request.params.id, request.scope) ?? missing(request.params.id),
  );

  app.delete(
    "/v1/messages/:id",
    {
      schema: {
        summary: "Cancel a message that was not sent yet, or recall one that was",
        description:
          "Recalled is what went through the Open API, for 24 hours; what went by webhook cannot be: 409. 503: DingTalk could " +
          "not be asked just now; the next call goes on. Again on a recalled message: 200.",
        params: Id,
        response: { 200: MessageState, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
    },
    async (request) => (await messages.cancel(request.params.id, request.scope)) ?? missing(request.params.id),
  );
};

function missing(id: string): never {
  throw new BridgeError("not_found", `there is no message ${JSON.stringify(id)}`);
}

function contentType(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null || !("content" in body)) return undefined;
  const { content } = body;
  if (typeof content !== "object" || content === null || !("type" in content)) return undefined;
  return typeof content.type === "string" ? content.type : undefined;
}

function readKey(value: string | string[] | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) || value.length === 0 || value.length > 1_024) {
    throw new BridgeError("invalid_request", "Idempotency-Key: must be one value of 1 to 1,024 characters");
  }
  return value;
}

/** `Prefer: wait=N` (RFC 7240); other preferences are ignored, as the RFC asks. */
function readWait(value: string | string[] | undefined): number | undefined {
  const match = /(?:^|[,;\s])wait=(\d+)(?:$|[,;\s])/i.exec([value ?? ""].flat().join(","));
  return match ? Math.min(Number(match[1]), LONGEST_WAIT_S) : undefined;
}

/** The response, not the socket: a kept connection would collect a listener for every request. */
function closed(response: NodeJS.EventEmitter): AbortSignal {
  const controller = new AbortController();
  response.once("close", () => controller.abort());
  return controller.signal;
}
