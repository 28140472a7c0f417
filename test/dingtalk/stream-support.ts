import { once } from "node:events";
import { type IncomingMessage, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { Agent } from "undici";
import { type WebSocket, WebSocketServer } from "ws";
import { type StreamSessionOptions, StreamSession } from "../../src/dingtalk/stream-session.ts";
import type { StreamTimings } from "../../src/dingtalk/stream-timings.ts";
import { systemClock } from "../../src/ops/clock.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { createMetrics } from "../../src/ops/metrics.ts";

export const robotTopic = "/v1.0/im/bot/messages/get";
export const cardTopic = "/v1.0/card/instances/callback";
export const app = { appKey: "dingapp1", appSecret: "secret+of/app=1" };

/** Waits short enough for a test; the heartbeat stays slow, so that only the tests about it feel it. */
export const shortTimings: Partial<StreamTimings> = {
  openTimeoutMs: 2_000,
  handshakeTimeoutMs: 2_000,
  backoffBaseMs: 10,
  backoffCapMs: 40,
  credentialsRetryMs: 50,
  replaceAtOnceAfterMs: 0,
  drainMs: 150,
  closeWaitMs: 200,
};

type LogLine = Record<string, unknown> & { level: number; msg: string };

/** A session with everything it needs, and what it wrote. `close` stops it and frees the rest. */
export function makeSession(apiBase: string, more: Partial<StreamSessionOptions> = {}) {
  const written: string[] = [];
  const logger = createLogger({
    level: "trace",
    version: "1.2.3",
    destination: { write: (line: string) => void written.push(line) },
  });
  const metrics = createMetrics();
  const dispatcher = new Agent({ allowH2: false, connect: { timeout: 2_000 } });
  const session = new StreamSession({
    account: { name: "main", ...app },
    apiBase,
    subscriptions: [
      { type: "CALLBACK", topic: robotTopic },
      { type: "CALLBACK", topic: cardTopic },
      { type: "EVENT", topic: "*" },
    ],
    userAgent: "dingtalk-bridge-node/1.2.3",
    dispatcher,
    logger,
    metrics,
    clock: systemClock,
    onPush: () => Promise.resolve({}),
    ...more,
    timings: { ...shortTimings, ...more.timings },
  });
  return {
    session,
    metrics,
    logText: () => written.join(""),
    lines: (msg?: string) =>
      written.map((line) => JSON.parse(line) as LogLine).filter((line) => msg === undefined || line.msg === msg),
    /** The sum of a metric over all its labels, or over those given. */
    async count(
      name:
        | "streamGaps"
        | "streamGapSeconds"
        | "acksFailed"
        | "streamInvalid"
        | "streamCloses"
        | "streamConnects"
        | "streamFrames",
      labels: Record<string, string> = {},
    ) {
      const { values } = await metrics[name].get();
      return values
        .filter((value) =>
          Object.entries(labels).every(([key, is]) => (value.labels as Record<string, unknown>)[key] === is),
        )
        .reduce((sum, { value }) => sum + value, 0);
    },
    async close() {
      await session.stop({ signal: AbortSignal.timeout(5_000) });
      await dispatcher.destroy();
    },
  };
}

export type Made = ReturnType<typeof makeSession>;

export interface RawServer {
  url: string;
  /** `open` and `upgrade`, in the order of arrival. */
  attempts: string[];
  sockets: WebSocket[];
  /** What clients wrote, parsed. */
  received: Record<string, unknown>[];
  live(): number;
  /** Most WebSockets that lived at one time. */
  mostLive(): number;
  close(): Promise<void>;
}

/** A gateway in the raw: every socket is the test's, to write anything to. */
export async function startRawServer(
  options: {
    /** Called instead of the upgrade. */
    refuse?: (socket: Duplex, attempt: number) => boolean;
    accept?: (ws: WebSocket, request: IncomingMessage, attempt: number) => void;
    autoPong?: boolean;
    ticket?: string;
  } = {},
): Promise<RawServer> {
  const attempts: string[] = [];
  const sockets: WebSocket[] = [];
  const received: Record<string, unknown>[] = [];
  let upgrades = 0;
  let most = 0;
  const live = () => sockets.filter((ws) => ws.readyState === ws.OPEN).length;
  const wss = new WebSocketServer({ noServer: true, autoPong: options.autoPong ?? true, clientTracking: false });
  const tcp = new Set<Duplex>();
  const server = createServer((request, response) => {
    attempts.push("open");
    request.resume();
    const { port } = server.address() as AddressInfo;
    const ticket = options.ticket ?? "t i/c+k=e&t";
    response.end(JSON.stringify({ endpoint: `ws://127.0.0.1:${port}/connect`, ticket }));
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    attempts.push("upgrade");
    upgrades += 1;
    const attempt = upgrades;
    tcp.add(socket);
    socket.on("close", () => tcp.delete(socket));
    socket.on("error", () => {});
    if (options.refuse?.(socket, attempt) === true) return;
    wss.handleUpgrade(request, socket, head, (ws) => {
      sockets.push(ws);
      most = Math.max(most, live());
      ws.on("error", () => {});
      ws.on("message", (data) => received.push(JSON.parse((data as Buffer).toString()) as Record<string, unknown>));
      options.accept?.(ws, request, attempt);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    attempts,
    sockets,
    received,
    live,
    mostLive: () => most,
    async close() {
      for (const ws of sockets) ws.terminate();
      for (const socket of tcp) socket.destroy();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A frame as DingTalk writes it. */
export function frame(type: string, topic: string, messageId: string | undefined, data: unknown = {}): string {
  return JSON.stringify({
    specVersion: "1.0",
    type,
    headers: { topic, contentType: "application/json", messageId, time: String(Date.now()) },
    data: JSON.stringify(data),
  });
}
