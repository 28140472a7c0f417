import { EventEmitter } from "node:events";
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import type { Envelope } from "../domain/envelope.ts";
import { ReplySender } from "./gateway-replies.ts";

/** How the scripted gateway answers a new envelope. */
export type GatewayMode =
  /** 200, then the text comes back as a reply. */
  | { kind: "echo" }
  /** 200, then the reply after `delayMs`. */
  | { kind: "slow"; delayMs: number }
  /** 200 and no reply. */
  | { kind: "silent" }
  /** Any status and body, e.g. 500, 401, a page of HTML; nothing is taken. */
  | { kind: "answer"; status: number; body?: string; contentType?: string; retryAfterS?: number }
  /** 202 so many times for each envelope, then as echo. */
  | { kind: "held"; times: number; retryAfterS: number }
  /** Takes the request and never answers. */
  | { kind: "hang" };

export interface GatewaySimulatorOptions {
  port?: number;
  /** Accounts that the handshake names, and the bearer token each side expects. */
  accounts: { id: string; appKey: string; token: string; enabled?: boolean }[];
  /** Where replies go; may be set later. */
  bridgeUrl?: string;
  mode?: GatewayMode;
  /** Text of the reply; undefined = no reply. Default: the message's own text with a mark. */
  reply?: (envelope: Envelope) => string | undefined;
  /** Tokens the gateway accepts besides the accounts' own are refused with 401; false accepts all. */
  checkToken?: boolean;
}

/** One POST as it arrived. */
export interface ReceivedEnvelope {
  at: number;
  envelope: Envelope;
  idempotencyKey: string | undefined;
  /** Status it was answered with; 0 = no answer. */
  status: number;
}

interface GatewayEvents {
  received: [ReceivedEnvelope];
  /** First time an envelope id was answered 200. */
  taken: [Envelope];
  replied: [{ envelope: Envelope; status: number; id: string | undefined }];
}

/** A gateway that speaks the contract of design §5 and §6 without any model behind it. */
export interface GatewaySimulator {
  readonly url: string;
  readonly received: readonly ReceivedEnvelope[];
  /** Envelopes in the order of their first 200. */
  readonly taken: readonly Envelope[];
  readonly events: EventEmitter<GatewayEvents>;
  bridgeUrl: string | undefined;
  mode: GatewayMode;
  /** Replies that were accepted by the bridge. */
  readonly replied: number;
  close(): Promise<void>;
}

export const EVENTS_PATH = "/dingtalk/events";

export async function startGatewaySimulator(options: GatewaySimulatorOptions): Promise<GatewaySimulator> {
  const events = new EventEmitter<GatewayEvents>();
  const received: ReceivedEnvelope[] = [];
  const taken = new Map<string, Envelope>();
  const held = new Map<string, number>();
  const tokenOf = (account: string): string => options.accounts.find(({ id }) => id === account)?.token ?? "";
  const replies = new ReplySender({ tokenOf, bridgeUrl: () => simulator.bridgeUrl });
  replies.onReplied = (one) => events.emit("replied", one);
  const app = fastify({ bodyLimit: 4 * 1024 * 1024, forceCloseConnections: true });

  const authorised = (authorization: string | undefined, account?: string): boolean =>
    options.checkToken === false ||
    options.accounts.some(
      ({ id, token }) => authorization === `Bearer ${token}` && (account === undefined || id === account),
    );

  app.get(EVENTS_PATH, async (request, reply) => {
    if (!authorised(request.headers.authorization)) return problem(reply, 401, "unauthorized");
    const accounts = options.accounts.map(({ id, appKey, enabled = true }) => ({
      id,
      appKey,
      enabled,
      dmPolicy: "open",
    }));
    return { contract: 1, name: "scripted-gateway", version: "1", host: "sandbox", accounts };
  });

  app.post<{ Body: Envelope }>(EVENTS_PATH, async (request, reply) => {
    const envelope = request.body;
    const record: ReceivedEnvelope = {
      at: performance.now(),
      envelope,
      idempotencyKey: [request.headers["idempotency-key"]].flat()[0],
      status: 0,
    };
    received.push(record);
    reply.raw.once("finish", () => {
      record.status = reply.statusCode;
      events.emit("received", record);
    });
    if (!authorised(request.headers.authorization, envelope.account)) return problem(reply, 401, "unauthorized");
    if (envelope.version !== 1) return problem(reply, 400, "unsupported_version");
    if (taken.has(envelope.id)) return reply.status(409).send({});
    const { mode } = simulator;
    if (mode.kind === "hang") return reply.hijack();
    if (mode.kind === "answer") {
      if (mode.retryAfterS !== undefined) reply.header("retry-after", String(mode.retryAfterS));
      return reply
        .status(mode.status)
        .type(mode.contentType ?? "text/plain")
        .send(mode.body ?? "");
    }
    if (mode.kind === "held") {
      const times = (held.get(envelope.id) ?? 0) + 1;
      held.set(envelope.id, times);
      if (times <= mode.times) return reply.status(202).header("retry-after", String(mode.retryAfterS)).send({});
    }
    taken.set(envelope.id, envelope);
    events.emit("taken", envelope);
    const text = mode.kind === "silent" ? undefined : (options.reply ?? echo)(envelope);
    if (text !== undefined) replies.send(envelope, text, mode.kind === "slow" ? mode.delayMs : 0);
    return reply.status(200).send({ decision: text === undefined ? "skipped" : "dispatched" });
  });

  const simulator: GatewaySimulator = {
    url: await listen(app, options.port ?? 0),
    received,
    events,
    bridgeUrl: options.bridgeUrl,
    mode: options.mode ?? { kind: "echo" },
    get taken() {
      return [...taken.values()];
    },
    get replied() {
      return replies.accepted;
    },
    async close() {
      replies.close();
      await app.close();
      events.removeAllListeners();
    },
  };
  return simulator;
}

function echo(envelope: Envelope): string | undefined {
  return envelope.type === "message" ? `收到:${envelope.message.text}` : undefined;
}

async function problem(reply: FastifyReply, status: number, code: string): Promise<FastifyReply> {
  return reply
    .status(status)
    .type("application/problem+json")
    .send(JSON.stringify({ status, code, title: code }));
}

async function listen(app: FastifyInstance, port: number): Promise<string> {
  await app.listen({ host: "127.0.0.1", port });
  const address = app.server.address();
  if (typeof address !== "object" || !address) throw new Error("the scripted gateway has no address");
  return `http://127.0.0.1:${address.port}`;
}
