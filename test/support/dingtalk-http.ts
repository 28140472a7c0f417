import { type RequestListener, createServer } from "node:http";
import { type AddressInfo, type Server, createServer as createTcpServer, type Socket } from "node:net";
import { Agent } from "undici";
import { createHttpCall, type HttpCall } from "../../src/dingtalk/http.ts";
import { createLogger, type Logger } from "../../src/ops/logger.ts";

/** A logger of every level that keeps what it wrote. */
export function capturedLogger(): { logger: Logger; text: () => string } {
  let text = "";
  const destination = { write: (line: string) => void (text += line) };
  return { logger: createLogger({ level: "trace", version: "test", destination }), text: () => text };
}

export interface Caller extends AsyncDisposable {
  call: HttpCall;
  logger: Logger;
  agent: Agent;
  logged: () => string;
}

/** The real client, with an agent and a log of its own. */
export function startCaller(timeoutMs = 5_000): Caller {
  const agent = new Agent({ allowH2: false });
  const { logger, text } = capturedLogger();
  const call = createHttpCall({ dispatcher: agent, logger, userAgent: "dingtalk-bridge/test", timeoutMs });
  return { call, logger, agent, logged: text, [Symbol.asyncDispose]: () => agent.destroy() };
}

export interface TestServer extends AsyncDisposable {
  url: string;
  port: number;
}

/** A plain HTTP server on a free port. */
export async function startServer(listener: RequestListener): Promise<TestServer> {
  const server = createServer(listener);
  return listening(server, () => server.closeAllConnections());
}

/** A TCP server that does what `onData` says with the first bytes of each connection. */
export async function startTcpServer(onData: (socket: Socket) => void): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("data", () => onData(socket));
  });
  return listening(server, () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** A port on which nobody listens. */
export async function closedPort(): Promise<number> {
  const server = await startServer(() => undefined);
  await server[Symbol.asyncDispose]();
  return server.port;
}

async function listening(server: Server, drop: () => void): Promise<TestServer> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      drop();
      await closed.promise;
    },
  };
}
