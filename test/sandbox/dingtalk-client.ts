import { WebSocket } from "ws";
import type { DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";

export const appKey = "dingapp1";
export const appSecret = "secret-1";
export const app = { appKey, appSecret };
export const robotTopic = "/v1.0/im/bot/messages/get";
export const cardTopic = "/v1.0/card/instances/callback";
export const allTopics = [
  { type: "CALLBACK", topic: robotTopic },
  { type: "CALLBACK", topic: cardTopic },
  { type: "EVENT", topic: "*" },
];

export interface Frame {
  specVersion?: string;
  type: string;
  headers: Record<string, string>;
  data: string;
}

export interface Answer {
  status: number;
  json: Record<string, unknown>;
  text: string;
  headers: Headers;
}

/** A call with JSON in and out; `text` is kept for answers that are none. */
export async function call(
  sim: DingtalkSimulator,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  method?: string,
): Promise<Answer> {
  const response = await fetch(sim.url + path, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: { "content-type": "application/json", accept: "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  let json: Record<string, unknown> = {};
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // The caller looks at the text.
  }
  return { status: response.status, json, text, headers: response.headers };
}

export const openBody = (more: object = {}): object => ({
  clientId: appKey,
  clientSecret: appSecret,
  subscriptions: allTopics,
  ua: "test/1.0",
  localIp: "10.0.0.7",
  ...more,
});

export async function openTicket(sim: DingtalkSimulator, more: object = {}): Promise<string> {
  const answer = await call(sim, "/v1.0/gateway/connections/open", openBody(more));
  return `${String(answer.json["endpoint"])}?ticket=${String(answer.json["ticket"])}`;
}

/** A Stream client that keeps what it gets and answers nothing unless told. */
export class Client {
  readonly ws: WebSocket;
  readonly frames: Frame[] = [];
  readonly raw: { data: string; isBinary: boolean }[] = [];
  pongs = 0;
  closed: { code: number } | undefined;
  #auto: ((frame: Frame) => void) | undefined;

  constructor(url: string) {
    this.ws = new WebSocket(url);
    this.ws.on("pong", () => this.pongs++);
    this.ws.on("message", (data: Buffer, isBinary) => {
      this.raw.push({ data: data.toString(), isBinary });
      try {
        const frame = JSON.parse(data.toString()) as Frame;
        this.frames.push(frame);
        this.#auto?.(frame);
      } catch {
        // Kept in `raw`.
      }
    });
    this.ws.on("close", (code) => (this.closed = { code }));
    this.ws.on("error", () => {});
  }

  ready(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.ws.once("open", () => resolve(this));
      this.ws.once("unexpected-response", (_request, response) => {
        reject(new Error(`refused ${response.statusCode}`));
        this.ws.terminate();
      });
      this.ws.once("error", reject);
    });
  }

  /** Acks everything from now on. */
  autoAck(data: unknown = { response: null }, more: object = {}): this {
    this.#auto = (frame) => this.ack(frame, data, more);
    return this;
  }

  ack(frame: Frame, data: unknown = { response: null }, more: object = {}): void {
    const echo = frame.headers["topic"] === "ping" ? frame.data : JSON.stringify(data);
    const { messageId = "" } = frame.headers;
    this.send({
      code: 200,
      message: "OK",
      headers: { messageId, contentType: "application/json" },
      data: echo,
      ...more,
    });
  }

  send(frame: object | string): void {
    this.ws.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  get messages(): Frame[] {
    return this.frames.filter((frame) => frame.type !== "SYSTEM");
  }

  body(index = 0): Record<string, unknown> {
    return JSON.parse(this.messages[index]?.data ?? "{}") as Record<string, unknown>;
  }
}

/** An open connection of the first app, or of `more.clientId`. */
export const connect = async (sim: DingtalkSimulator, more: object = {}): Promise<Client> =>
  new Client(await openTicket(sim, more)).ready();

export async function token(sim: DingtalkSimulator): Promise<string> {
  const answer = await call(sim, "/v1.0/oauth2/accessToken", { appKey, appSecret });
  return String(answer.json["accessToken"]);
}
