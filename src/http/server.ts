import swagger from "@fastify/swagger";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import fastify, { type FastifyInstance } from "fastify";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { DeadLetters } from "../flows/dead-letters.ts";
import type { Erasures } from "../flows/erasure.ts";
import type { Media } from "../flows/media.ts";
import type { Messages, Scope } from "../flows/messages.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import { Transitions } from "../ops/transitions.ts";
import { type Grant, requireToken } from "./auth.ts";
import { BODY_MS, boundBodies } from "./body.ts";
import { describeContract, speakContract } from "./contract.ts";
import { deadLetterRoutes } from "./dead-letters.ts";
import { mediaRoutes, uploadMs } from "./media.ts";
import { messageRoutes } from "./messages.ts";
import { type OperationsOptions, operationRoutes } from "./operations.ts";
import { peopleRoutes } from "./people.ts";
import { errorHandler, problemOf, sendProblem } from "./problem.ts";
import { type StreamRoutesOptions, streamRoutes } from "./streams.ts";

export interface HttpServerOptions extends Omit<OperationsOptions, "authenticate">, StreamRoutesOptions {
  host: string;
  port: number;
  version: string;
  grants: () => Grant[];
  /** A gateway called with a right token. */
  onGatewayCall?: (scope: Scope) => void;
  messages: Messages;
  deadLetters: DeadLetters;
  erasures: Erasures;
  media: Media;
  logger: Logger;
}

/** A message of the longest text, escaped as JSON. */
const BODY_LIMIT = 2 * 1024 * 1024;

/** The API for the gateway and the operator's probes. */
export class HttpServer implements Service {
  readonly name = "http";
  readonly #options: HttpServerOptions;
  readonly #transitions = new Transitions();
  #app: FastifyInstance | undefined;
  #refusing = new AbortController();
  #port: number | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  /** Throws BridgeError `port_unavailable`. */
  start(): Promise<void> {
    return this.#transitions.run(() => this.#listen());
  }

  async #listen(): Promise<void> {
    if (this.#app) return;
    this.#refusing = new AbortController();
    const app = await buildServer(this.#options, this.#refusing.signal);
    const { host, port } = this.#options;
    try {
      await app.listen({ host, port });
    } catch (thrown) {
      await app.close();
      const cause = coerceError(thrown);
      throw new BridgeError("port_unavailable", `cannot listen on ${host}:${port}: ${cause.message}`, {
        cause,
        mend: "choose another BRIDGE_PORT or BRIDGE_HOST, or stop what uses it",
      });
    }
    this.#app = app;
    const address = app.server.address();
    this.#port = typeof address === "object" && address ? address.port : port;
    this.#options.logger.info({ host, port: this.#port }, "API listening");
  }

  /** The port in use, once started: the configured one, or what the system chose for 0. */
  get port(): number | undefined {
    return this.#port;
  }

  /** New work is answered 503 with Retry-After from now on; reading goes on. */
  refuseWork(): void {
    this.#refusing.abort();
  }

  stop(): Promise<void> {
    return this.#transitions.run(async () => {
      this.refuseWork();
      const app = this.#app;
      this.#app = undefined;
      await app?.close();
      await this.#options.media.settled();
    });
  }

  health(): Health {
    return { status: this.#app ? "ok" : "starting" };
  }
}

/** The server without its socket: what tests inject into and what the OpenAPI document is read from. */
export async function buildServer(options: HttpServerOptions, refusing: AbortSignal): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: true,
    // Of the slowest route; each has its own, `boundBodies`, which answers before this one cuts.
    requestTimeout: uploadMs(options.media.maxBytes) + BODY_MS,
    http: { headersTimeout: BODY_MS },
    routerOptions: { maxParamLength: 512 },
    ajv: { customOptions: { discriminator: true, removeAdditional: false, coerceTypes: false, useDefaults: true } },
  }).withTypeProvider<TypeBoxTypeProvider>();
  const authenticate = requireToken(options.grants, options.onGatewayCall);
  app.decorateRequest("scope");
  app.setErrorHandler(errorHandler(options.logger));
  app.setNotFoundHandler(async (request, reply) => {
    await sendProblem(reply, problemOf("not_found", `there is no ${request.method} ${request.url.split("?")[0]}`));
  });
  boundBodies(app);
  speakContract(app);
  app.addHook("onRequest", async (request, reply) => {
    if (refusing.aborted && request.method !== "GET" && request.method !== "HEAD") {
      await sendProblem(reply, problemOf("stopping", "the bridge is stopping; try again in a few seconds"));
    }
  });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "dingtalk-bridge",
        version: options.version,
        description: "Replies for DingTalk, and what an operator asks. Every error is a problem document (RFC 9457).",
      },
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
      security: [{ bearer: [] }],
    },
    transformObject: describeContract,
  });
  await app.register(operationRoutes, { ...options, authenticate });
  await app.register(async (api) => {
    api.addHook("onRequest", authenticate);
    await api.register(messageRoutes, { messages: options.messages });
    await api.register(streamRoutes, { streams: options.streams, activity: options.activity });
    await api.register(deadLetterRoutes, { deadLetters: options.deadLetters });
    await api.register(mediaRoutes, { media: options.media });
    await api.register(peopleRoutes, { erasures: options.erasures });
  });
  await app.ready();
  return app;
}
