import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { problemOf } from "./problem.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Milliseconds that the body may take to arrive; default BODY_MS. */
    bodyMs?: number;
  }
}

/** For headers, and for the body of an ordinary call. */
export const BODY_MS = 30_000;
/** How long the rest of a body is read after its answer: a client that writes on would lose the answer otherwise. */
const REST_MS = 30_000;

/**
 * Gives every body its time: Node has one such limit for all routes, and uploads need more. Whatever is left of a body
 * when the answer is out is read and thrown away, so that the connection serves the next call or ends.
 */
export function boundBodies(app: FastifyInstance): void {
  app.addHook("onRequest", async (request, reply) => {
    if (!hasBody(request)) return;
    const { raw } = request;
    const ms = request.routeOptions.config.bodyMs ?? BODY_MS;
    const late = (): void => {
      const problem = problemOf("invalid_request", `the body did not arrive within ${ms / 1_000} s`, { status: 408 });
      void reply
        .status(problem.status)
        .header("connection", "close")
        .type("application/problem+json")
        .send(JSON.stringify(problem));
    };
    const timer = setTimeout(late, ms);
    // After the last byte, or when the connection ends before the answer is out.
    raw.once("close", () => clearTimeout(timer));
    reply.raw.once("finish", () => {
      clearTimeout(timer);
      if (!raw.readableEnded && !raw.destroyed) discard(raw);
    });
  });
}

/** Node does so with what nobody has begun to read, without an end; what a parser has given up half-way it leaves. */
function discard(raw: IncomingMessage): void {
  const { socket } = raw;
  const timer = setTimeout(() => socket.destroy(), REST_MS);
  const over = (): void => {
    clearTimeout(timer);
    raw.off("end", over);
    socket.off("close", over);
  };
  raw.once("end", over);
  // After the answer Node tells the request nothing of its connection's end.
  socket.once("close", over);
  raw.unpipe();
  raw.resume();
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
}
