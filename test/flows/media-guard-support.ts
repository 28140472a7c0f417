import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import { buffer } from "node:stream/consumers";
import type { buildConnector } from "undici";
import { BridgeError } from "../../src/domain/errors.ts";
import type { Fetched, createGuardedFetch } from "../../src/flows/media-guard.ts";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A real HTTP server on the loopback, which the guard must not reach unless it is allowed to. */
export class LocalServer {
  readonly requests: IncomingMessage[] = [];
  readonly sockets = new Set<Socket>();
  /** All that there were. */
  connections = 0;
  readonly #server: Server;

  private constructor(handler: Handler) {
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      handler(request, response);
    });
    this.#server.on("connection", (socket: Socket) => {
      this.connections += 1;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  static async start(handler: Handler, host = "127.0.0.1"): Promise<LocalServer> {
    const server = new LocalServer(handler);
    server.#server.listen(0, host);
    await once(server.#server, "listening");
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

export const PUBLIC = "8.8.8.8";

/** A resolver with an answer per name: `[[first answer], [second answer]]`, the last one for ever. */
export function resolver(names: Record<string, readonly (readonly string[])[]>) {
  const asked: string[] = [];
  const lookup = async (hostname: string) => {
    const answers = names[hostname];
    if (answers === undefined) throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
    const nth = asked.filter((name) => name === hostname).length;
    asked.push(hostname);
    const answer = answers[Math.min(nth, answers.length - 1)] ?? [];
    return answer.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  };
  return { lookup, asked };
}

/** The Internet in small: whatever public address was checked, the connection goes to this server. Records the addresses. */
export function internetOf(server: LocalServer, dialled: string[] = []) {
  return (addresses: readonly { address: string }[]): buildConnector.connector =>
    (_wanted, callback) => {
      dialled.push(...addresses.map(({ address }) => address));
      const socket = connect(server.port, "127.0.0.1");
      socket.once("connect", () => callback(null, socket));
      socket.once("error", (error) => callback(error, null));
    };
}

export const LIMITS = { maxBytes: 1_000_000, timeoutMs: 10_000 };

export type Guard = ReturnType<typeof createGuardedFetch>;

export async function contents(fetched: Fetched): Promise<string> {
  return (await buffer(fetched.body)).toString("utf8");
}

/** The BridgeError of a fetch that must fail, wherever on its way it does. */
export async function failure(fetching: Promise<Fetched>): Promise<BridgeError> {
  try {
    await contents(await fetching);
  } catch (thrown) {
    if (thrown instanceof BridgeError) return thrown;
    throw thrown;
  }
  throw new Error("it was fetched");
}
