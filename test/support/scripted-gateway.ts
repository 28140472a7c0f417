import { type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Envelope } from "../../src/domain/envelope.ts";

export interface ScriptedAnswer {
  status: number;
  /** Seconds. */
  retryAfter?: number;
}

/** A gateway whose every answer is the test's, one by one, at the time it likes. */
export interface ScriptedGateway {
  url: string;
  /** Texts of the POSTs as they came, with their answers (0 = none yet). */
  readonly posts: { text: string; status: number; at: number }[];
  close(): Promise<void>;
}

export async function startScriptedGateway(
  account: { id: string; appKey: string },
  answer: (text: string, envelope: Envelope, path: string) => ScriptedAnswer | Promise<ScriptedAnswer>,
): Promise<ScriptedGateway> {
  const posts: ScriptedGateway["posts"] = [];
  const json = (response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.method === "GET") {
        json(response, 200, { contract: 1, name: "scripted", version: "1", host: "test", accounts: [account] });
        return;
      }
      const envelope = JSON.parse(Buffer.concat(chunks).toString()) as Envelope;
      const text = envelope.type === "message" ? envelope.message.text : "";
      const post = { text, status: 0, at: performance.now() };
      posts.push(post);
      void Promise.resolve(answer(text, envelope, request.url ?? "")).then(({ status, retryAfter }) => {
        post.status = status;
        json(response, status, {}, retryAfter === undefined ? {} : { "retry-after": String(retryAfter) });
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posts,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
