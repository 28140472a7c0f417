import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

export type Json = Record<string, unknown>;

/** One request that went through, with its answer. */
export interface TappedCall {
  /** Method and path. */
  what: string;
  /** When it came; epoch milliseconds. */
  at: number;
  key: string | undefined;
  body: Json;
  /** 0 as long as there is no answer, and when nobody was there. */
  status: number;
  answer: Json;
}

/** Stands before an HTTP service, hands everything on, and keeps what was said. Where nobody is, it hangs up. */
export class Tap {
  readonly calls: TappedCall[] = [];
  #server: Server | undefined;
  /** Where it hands on to; may be set later. */
  target: string;

  constructor(target = "") {
    this.target = target;
  }

  async start(): Promise<void> {
    this.#server = createServer((req, res) => void this.#pass(req, res).catch(() => res.destroy()));
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server?.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
    if (this.#server?.listening) await once(this.#server, "close");
  }

  /** Calls whose method and path begin so, oldest first. */
  of(what: string): TappedCall[] {
    return this.calls.filter((call) => call.what.startsWith(what));
  }

  async #pass(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const at = Date.now();
    const bytes = await buffer(req);
    const key = req.headers["idempotency-key"];
    const call: TappedCall = {
      what: `${req.method} ${req.url}`,
      at,
      key: typeof key === "string" ? decodeURI(key) : undefined,
      body: jsonOf(bytes),
      status: 0,
      answer: {},
    };
    this.calls.push(call);
    const headers = Object.entries(req.headers).filter(([name]) => !HOP.has(name));
    const answer = await fetch(`${this.target}${req.url}`, {
      method: req.method ?? "GET",
      headers: headers.map(([name, value]): [string, string] => [name, String(value)]),
      ...(bytes.length > 0 && { body: new Uint8Array(bytes) }),
    });
    const content = Buffer.from(await answer.arrayBuffer());
    call.answer = jsonOf(content);
    call.status = answer.status;
    const kept = [...answer.headers].filter(([name]) => !HOP.has(name));
    res.writeHead(answer.status, Object.fromEntries(kept)).end(content);
  }
}

/** Belong to one connection. */
const HOP = new Set(["connection", "host", "content-length", "transfer-encoding", "keep-alive", "content-encoding"]);

function jsonOf(bytes: Buffer): Json {
  try {
    return JSON.parse(bytes.toString()) as Json;
  } catch {
    return {};
  }
}
