import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Envelope } from "../domain/envelope.ts";
import { BridgeCalls } from "./gateway-calls.ts";
import { Demo } from "./gateway-demo.ts";
import { Replies, type Replied } from "./gateway-replies.ts";
import { sendStream } from "./gateway-streams.ts";
import { Turns } from "./gateway-turns.ts";

/** How the scripted gateway answers a new envelope. */
export type GatewayMode =
  /** 200, then the text comes back as a reply. */
  | { kind: "echo" }
  /** 200, then what the text asks for: the sandbox's gateway (gateway-demo.ts). `stream` and `reply` are not asked. */
  | { kind: "demo" }
  /** 200, then the reply after `delayMs`. */
  | { kind: "slow"; delayMs: number }
  /** 200 and no reply. */
  | { kind: "silent" }
  /** Any status and body, e.g. 500, 401, a page of HTML; nothing is taken. */
  | { kind: "answer"; status: number; body?: string; contentType?: string; retryAfterS?: number }
  /** 202 so many times for each envelope, then as echo. */
  | { kind: "held"; times: number; retryAfterS: number }
  /** 200 when the conversation is free, else 202 and kept in memory; replies as echo at the end of each turn. */
  | { kind: "turns"; turnMs: number | ((envelope: Envelope) => number); retryAfterS: number }
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
  /** Pieces of a text that is sent through /v1/streams while it grows; undefined = `reply` is asked. */
  stream?: (envelope: Envelope) => AsyncIterable<string> | undefined;
  /** Pause after each piece. Default 0. */
  deltaMs?: number;
  /** Tokens the gateway accepts besides the accounts' own are refused with 401; false accepts all. */
  checkToken?: boolean;
  /** What a crash leaves: nothing, as with OpenClaw, or the ids of the turns that ended. */
  remembers?: "nothing" | "finished";
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
  /** The gateway began to work on an envelope; again for one that a crash made it forget. Told before the answer. */
  turn: [Envelope];
  /** First time for an envelope id. */
  taken: [Envelope];
  replied: [Replied];
}

/** A gateway that speaks the contract of design §5 and §6 without any model behind it. */
export interface GatewaySimulator {
  readonly url: string;
  readonly received: readonly ReceivedEnvelope[];
  /** Envelopes in the order in which the gateway began to work on them, each once, whatever it forgot meanwhile. */
  readonly taken: readonly Envelope[];
  readonly events: EventEmitter<GatewayEvents>;
  bridgeUrl: string | undefined;
  mode: GatewayMode;
  /** Share of the POSTs that are answered 503, whatever the mode. */
  errorRate: number;
  /** Replies that were accepted by the bridge. */
  readonly replied: number;
  /** Messages that wait for their turn or are in it. */
  readonly unfinished: number;
  /** Conversations whose reply was begun and is not yet taken, refused or given up. */
  readonly replying: number;
  /** Dies: connections are reset, the port is closed, what was not finished is forgotten, replies not yet sent included. */
  crash(): Promise<void>;
  /** Listens again on the same port after a crash. */
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

export const EVENTS_PATH = "/dingtalk/events";

/** What ends with the gateway's process. */
interface Life {
  app: FastifyInstance;
  sockets: Set<Socket>;
  calls: BridgeCalls;
  replies: Replies;
  demo: Demo;
  turns: Turns;
  /** Ids answered 200, and those of an earlier life that were remembered. */
  answered: Set<string>;
  held: Map<string, number>;
}

export async function startGatewaySimulator(options: GatewaySimulatorOptions): Promise<GatewaySimulator> {
  const events = new EventEmitter<GatewayEvents>();
  const received: ReceivedEnvelope[] = [];
  const taken = new Map<string, Envelope>();
  const tokenOf = (account: string): string => options.accounts.find(({ id }) => id === account)?.token ?? "";
  const replyTo = (envelope: Envelope): string | undefined => (options.reply ?? echo)(envelope);
  let acceptedBefore = 0;
  let life: Life;
  let port = options.port ?? 0;

  const begin = (envelope: Envelope): void => {
    const isFirst = !taken.has(envelope.id);
    if (isFirst) taken.set(envelope.id, envelope);
    events.emit("turn", envelope);
    if (isFirst) events.emit("taken", envelope);
  };

  const authorised = (authorization: string | undefined, account?: string): boolean =>
    options.checkToken === false ||
    options.accounts.some(
      ({ id, token }) => authorization === `Bearer ${token}` && (account === undefined || id === account),
    );

  const greet = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    if (!authorised(request.headers.authorization)) return problem(reply, 401, "unauthorized");
    const accounts = options.accounts.map(({ id, appKey, enabled = true }) => ({
      id,
      appKey,
      enabled,
      dmPolicy: "open",
    }));
    return { contract: 1, name: "scripted-gateway", version: "1", host: "sandbox", accounts };
  };

  const receive = async (request: FastifyRequest<{ Body: Envelope }>, reply: FastifyReply): Promise<unknown> => {
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
    if (Math.random() < simulator.errorRate) return reply.status(503).send("out of order");
    const { answered, held, turns } = life;
    if (answered.has(envelope.id)) return reply.status(409).send({});
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
    if (mode.kind === "turns") {
      const turnMs = typeof mode.turnMs === "number" ? mode.turnMs : mode.turnMs(envelope);
      const status = turns.take(envelope, turnMs);
      if (status === 202) reply.header("retry-after", String(mode.retryAfterS));
      return reply.status(status).send({});
    }
    answered.add(envelope.id);
    begin(envelope);
    const isAnswered = mode.kind !== "silent" && respond(life, envelope, mode);
    return reply.status(200).send({ decision: isAnswered ? "dispatched" : "skipped" });
  };

  /** Begins the reply; false when there is none. */
  const respond = (
    { calls, replies, demo }: Pick<Life, "calls" | "replies" | "demo">,
    envelope: Envelope,
    mode: GatewayMode,
  ): boolean => {
    if (mode.kind === "demo") {
      const script = demo.scriptOf(envelope);
      if (script) replies.run(envelope, script);
      return script !== undefined;
    }
    const { deltaMs = 0 } = options;
    const delayMs = mode.kind === "slow" ? mode.delayMs : 0;
    const deltas = options.stream?.(envelope);
    if (deltas) {
      replies.run(envelope, async () => {
        await calls.pause(delayMs);
        return sendStream(calls, { envelope, deltas, deltaMs });
      });
      return true;
    }
    const text = replyTo(envelope);
    if (text !== undefined && envelope.type === "message") replies.send(envelope, text, delayMs);
    return text !== undefined;
  };

  const live = async (remembered: Iterable<string>): Promise<Life> => {
    const calls = new BridgeCalls({ tokenOf, bridgeUrl: () => simulator.bridgeUrl });
    const replies = new Replies(calls);
    replies.onReplied = (one) => events.emit("replied", one);
    const demo = new Demo(calls);
    const onEnd = (envelope: Envelope): void => void respond({ calls, replies, demo }, envelope, simulator.mode);
    const app = fastify({ bodyLimit: 4 * 1024 * 1024, forceCloseConnections: true });
    app.get(EVENTS_PATH, greet);
    app.post(EVENTS_PATH, receive);
    const sockets = new Set<Socket>();
    app.server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
    const turns = new Turns({ onStart: begin, onEnd });
    port = await listen(app, port);
    return { app, sockets, calls, replies, demo, turns, answered: new Set(remembered), held: new Map() };
  };
  const end = async ({ app, calls, turns }: Life): Promise<void> => {
    turns.end();
    calls.close();
    await app.close();
  };

  const simulator: GatewaySimulator = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    received,
    events,
    bridgeUrl: options.bridgeUrl,
    mode: options.mode ?? { kind: "echo" },
    errorRate: 0,
    get taken() {
      return [...taken.values()];
    },
    get replied() {
      return acceptedBefore + life.replies.accepted;
    },
    get unfinished() {
      return life.turns.unfinished;
    },
    get replying() {
      return life.replies.running;
    },
    async crash() {
      for (const socket of life.sockets) socket.resetAndDestroy();
      await end(life);
    },
    async comeBack() {
      acceptedBefore += life.replies.accepted;
      life = await live(options.remembers === "finished" ? [...life.answered, ...life.turns.finished] : []);
    },
    async close() {
      await end(life);
      events.removeAllListeners();
    },
  };
  life = await live([]);
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

async function listen(app: FastifyInstance, port: number): Promise<number> {
  await app.listen({ host: "127.0.0.1", port });
  const address = app.server.address();
  if (typeof address !== "object" || !address) throw new Error("the scripted gateway has no address");
  return address.port;
}
