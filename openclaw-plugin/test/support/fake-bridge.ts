import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { resolveAccount } from "../../src/accounts.ts";
import type { Bridge } from "../../src/bridge-http.ts";

export interface FakeCall {
  /** Method and path. */
  what: string;
  headers: IncomingMessage["headers"];
  /** Parsed when it is JSON, else the text. */
  body: unknown;
}

export interface FakeAnswer {
  status: number;
  body?: object | Buffer;
  type?: string;
  headers?: Record<string, string>;
  /** The answer waits for it. */
  after?: Promise<unknown>;
}

const PROBLEM = "application/problem+json; charset=utf-8";
export const problem = (status: number, code: string): FakeAnswer => ({ status, body: { code }, type: PROBLEM });

/** What a bridge answers to these calls, as far as the plugin reads it; records every call. */
export class FakeBridge {
  readonly calls: FakeCall[] = [];
  readonly lines: string[] = [];
  /** Answers that come before the usual one, by the beginning of method and path. */
  readonly script = new Map<string, FakeAnswer[]>();
  mode: "card" | "buffered" = "card";
  #server: Server | undefined;
  #count = 0;

  async start(): Promise<void> {
    this.#server = createServer((req, res) => void this.#answer(req, res)).listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
    if (this.#server?.listening) await once(this.#server, "close");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server?.address() as AddressInfo).port}`;
  }

  /** The bridge as the plugin knows it. */
  bridge(settings: object = {}): Bridge {
    const dingtalk = { appKey: "k", appSecret: "s", bridgeUrl: this.url, ...settings };
    const say = (line: string): number => this.lines.push(line);
    return {
      account: resolveAccount({ channels: { dingtalk } }, "default", {}),
      userAgent: "test",
      log: { info: say, warn: say, error: say },
    };
  }

  /** Calls whose method and path begin so, oldest first. */
  of(what: string): FakeCall[] {
    return this.calls.filter((call) => call.what.startsWith(what));
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const bytes = await buffer(req);
    const what = `${req.method} ${req.url}`;
    const isJson = req.headers["content-type"]?.startsWith("application/json");
    const text = bytes.toString("latin1");
    this.calls.push({ what, headers: req.headers, body: isJson ? JSON.parse(bytes.toString()) : text });
    const scripted = [...this.script].find(([begin]) => what.startsWith(begin))?.[1].shift();
    const { status, body, type = "application/json", headers, after } = scripted ?? this.#usual(what);
    await after;
    res.writeHead(status, { "content-type": type, ...headers });
    res.end(body instanceof Buffer ? body : body && JSON.stringify(body));
  }

  #usual(what: string): FakeAnswer {
    this.#count += 1;
    if (what === "POST /v1/streams") return { status: 201, body: { id: `st_${this.#count}`, mode: this.mode } };
    if (what.startsWith("PUT ")) return { status: 204 };
    if (what === "POST /v1/media") return { status: 201, body: { id: `m_${this.#count}`, mimeType: "image/png" } };
    return { status: 202, body: { id: `out_${this.#count}`, duplicate: false, status: "queued" } };
  }
}
