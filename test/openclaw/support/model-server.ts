import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

interface ChatMessage {
  role: string;
  content?: string | { type: string; text?: string }[] | null;
}

/** One request that OpenClaw sent to the model. */
export interface ModelRequest {
  /** The last thing a person said, with whatever OpenClaw put around it. */
  prompt: string;
  /** The word after the last `say` of the conversation: also there when OpenClaw goes on with an interrupted turn. */
  word: string | undefined;
}

/** A model that answers by rule: an OpenAI-compatible server for `api: "openai-completions"`. */
export class ModelServer {
  readonly requests: ModelRequest[] = [];
  /** The rule. */
  reply: (request: ModelRequest) => string = ({ word }) => `echo ${word ?? "nothing"}`;
  #server: Server | undefined;
  #gate: Promise<void> = Promise.resolve();

  async start(): Promise<void> {
    const server = createServer((req, res) => {
      void this.#answer(req, res).catch((error: unknown) => res.destroy(error as Error));
    });
    this.#server = server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server?.address() as AddressInfo).port}/v1`;
  }

  /** Answers wait until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await text(req);
    if (req.method !== "POST" || !req.url?.endsWith("/chat/completions")) {
      res.writeHead(404).end();
      return;
    }
    const { messages, stream } = JSON.parse(body) as { messages: ChatMessage[]; stream?: boolean };
    const said = personsWords(messages);
    const request = {
      prompt: said.at(-1) ?? "",
      word: said.map((words) => /\bsay (\w+)/.exec(words)?.[1]).findLast((word) => word !== undefined),
    };
    this.requests.push(request);
    await this.#gate;
    const content = this.reply(request);
    if (stream === true) sendStream(res, content);
    else sendWhole(res, content);
  }
}

/** OpenClaw often ends the list with a block of its own; the person's words are the user message before it. */
function personsWords(messages: ChatMessage[]): string[] {
  const own = "BEGIN_OPENCLAW_INTERNAL_CONTEXT";
  return messages
    .filter(({ role }) => role === "user")
    .map(wordsOf)
    .filter((words) => !words.includes(own));
}

function wordsOf({ content }: ChatMessage): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("\n");
}

const base = { id: "chatcmpl-scripted", created: 1_700_000_000, model: "scripted" };
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };

function sendStream(res: ServerResponse, content: string): void {
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  res.writeHead(200, { "content-type": "text/event-stream" });
  res.write(chunk({ role: "assistant", content: "" }, null));
  for (const piece of content.match(/[\s\S]{1,12}/g) ?? []) res.write(chunk({ content: piece }, null));
  res.write(chunk({}, "stop"));
  res.write(`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [], usage })}\n\n`);
  res.end("data: [DONE]\n\n");
}

function sendWhole(res: ServerResponse, content: string): void {
  const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
  res.writeHead(200, { "content-type": "application/json" });
  res.end(JSON.stringify({ ...base, object: "chat.completion", choices, usage }));
}
