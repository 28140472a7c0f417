import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

interface ContentPart {
  type: string;
  text?: string;
  image_url?: { url: string };
}

interface ChatMessage {
  role: string;
  content?: string | ContentPart[] | null;
}

/** One request that OpenClaw sent to the model. */
export interface ModelRequest {
  /** Its id, as OpenClaw asked for it. */
  model: string;
  /** The last thing a person said, with whatever OpenClaw put around it. */
  prompt: string;
  /** The word after the last `say` of the conversation: also there when OpenClaw goes on with an interrupted turn. */
  word: string | undefined;
  /** The words after each `say` since the model spoke last. */
  unanswered: string[];
  /** All words of the request: the conversation, and what OpenClaw adds to it. */
  context: string;
  /** All pictures of the conversation. */
  images: Buffer[];
  /** What tools gave back since the person spoke last. */
  toolResults: string[];
  /** The tools that the model may use. */
  tools: string[];
  /** OpenClaw hung up before the answer was complete. */
  isAborted: boolean;
}

/** The model uses a tool, and is asked again with what came of it. */
export interface ToolCall {
  tool: string;
  args: Record<string, unknown>;
  /** Said before. */
  text?: string;
}

/** The model refuses. */
export interface Failure {
  status: number;
  message: string;
}

/** Whole, or piece by piece as the pieces come. */
export type ModelAnswer = string | ToolCall | Failure | AsyncIterable<string>;

/** A model that answers by rule: an OpenAI-compatible server for `api: "openai-completions"`. */
export class ModelServer {
  readonly requests: ModelRequest[] = [];
  /** The rules: by the word, else the echo of it. */
  readonly answers = new Map<string, (request: ModelRequest) => ModelAnswer>();
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
    const request = readRequest(body);
    this.requests.push(request);
    res.once("close", () => (request.isAborted = !res.writableFinished));
    await this.#gate;
    const rule = this.answers.get(request.word ?? "");
    const answer = rule?.(request) ?? `echo ${request.word ?? "nothing"}`;
    if (typeof answer === "object" && "status" in answer) {
      res.writeHead(answer.status, { "content-type": "application/json" });
      res.end(JSON.stringify({ error: { message: answer.message, type: "scripted", code: null } }));
    } else if ((JSON.parse(body) as { stream?: boolean }).stream === true) await sendStream(res, answer);
    else sendWhole(res, typeof answer === "string" ? answer : "");
  }
}

function readRequest(body: string): ModelRequest {
  const { model, messages, tools } = JSON.parse(body) as {
    model: string;
    messages: ChatMessage[];
    tools?: { function?: { name: string } }[];
  };
  const own = "BEGIN_OPENCLAW_INTERNAL_CONTEXT";
  // OpenClaw often ends the list with a block of its own; the person's words are the user message before it.
  const said = messages.filter((message) => message.role === "user" && !wordsOf(message).includes(own));
  const last = messages.lastIndexOf(said.at(-1)!);
  const spoke = messages.findLastIndex(
    ({ role, content }) => role === "assistant" && content !== "" && content !== null,
  );
  const open = messages.slice(spoke + 1).filter((message) => said.includes(message));
  return {
    model,
    unanswered: open.flatMap((message) => [...wordsOf(message).matchAll(/\bsay (\w+)/g)].map(([, word]) => word ?? "")),
    prompt: said.length > 0 ? wordsOf(said.at(-1)!) : "",
    // One message may hold the words of an interrupted turn, those of the next one, and OpenClaw's own ("… say so").
    word: said.flatMap((message) => [...wordsOf(message).matchAll(/(?:^|[\]:] )say (\w+)/gm)]).at(-1)?.[1],
    context: messages.map(wordsOf).join("\n"),
    images: messages.flatMap(({ content }) => (Array.isArray(content) ? content.flatMap(picturesOf) : [])),
    toolResults: messages
      .slice(last + 1)
      .filter(({ role }) => role === "tool")
      .map(wordsOf),
    tools: (tools ?? []).map((tool) => tool.function?.name ?? ""),
    isAborted: false,
  };
}

function wordsOf({ content }: ChatMessage): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("\n");
}

function picturesOf({ image_url }: ContentPart): Buffer[] {
  const data = /^data:image\/[\w.+-]+;base64,(.*)$/s.exec(image_url?.url ?? "")?.[1];
  return data === undefined ? [] : [Buffer.from(data, "base64")];
}

const base = { id: "chatcmpl-scripted", created: 1_700_000_000, model: "scripted" };
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };

async function sendStream(res: ServerResponse, answer: Exclude<ModelAnswer, Failure>): Promise<void> {
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  res.writeHead(200, { "content-type": "text/event-stream" });
  res.write(chunk({ role: "assistant", content: "" }, null));
  const call = typeof answer === "object" && "tool" in answer ? answer : undefined;
  const words = typeof answer === "string" ? answer : call?.text;
  const pieces =
    words === undefined && !call ? (answer as AsyncIterable<string>) : (words ?? "").match(/[\s\S]{1,12}/g);
  for await (const piece of pieces ?? []) res.write(chunk({ content: piece }, null));
  if (call) {
    // No model speaks in one instant; OpenClaw 2026.8 forgets words that a tool follows so quickly.
    if (call.text !== undefined) await setTimeout(500);
    const named = { name: call.tool, arguments: JSON.stringify(call.args) };
    res.write(chunk({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: named }] }, null));
  }
  res.write(chunk({}, call ? "tool_calls" : "stop"));
  res.write(`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [], usage })}\n\n`);
  res.end("data: [DONE]\n\n");
}

function sendWhole(res: ServerResponse, content: string): void {
  const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
  res.writeHead(200, { "content-type": "application/json" });
  res.end(JSON.stringify({ ...base, object: "chat.completion", choices, usage }));
}
