import { Agent, request } from "undici";

export interface Answered {
  /** 0 = no answer. */
  status: number;
  body: Record<string, unknown>;
}

/** Calls the bridge's API as a gateway does, over connections that stay open. */
export class StreamCaller {
  readonly #url: string;
  readonly #token: string;
  readonly #agent = new Agent({ connections: 64, pipelining: 1, headersTimeout: 10_000, bodyTimeout: 10_000 });

  constructor(options: { url: string; token: string }) {
    this.#url = options.url;
    this.#token = options.token;
  }

  async call(method: "POST" | "PUT", path: string, body: object, key?: string): Promise<Answered> {
    try {
      const answer = await request(`${this.#url}${path}`, {
        dispatcher: this.#agent,
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          "content-type": "application/json",
          ...(key !== undefined && { "idempotency-key": key }),
        },
        body: JSON.stringify(body),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, body: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>) };
    } catch {
      return { status: 0, body: {} };
    }
  }
}
