import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { expect } from "vitest";
import { TOKEN, type TestBridge } from "./bridge.ts";

/** A message as the API shows it. */
export interface State {
  id: string;
  status: string;
  outTrackId?: string;
  deliveredParts?: string;
  uncertain?: boolean;
  parts: { route: string; receipt?: string; at: string }[];
  error?: { code: string; detail: string };
}

/** Sends a message and waits for its end. */
export async function send(bridge: TestBridge, body: object, headers: Record<string, string> = {}): Promise<State> {
  const response = await bridge.api("POST", "/v1/messages", body, { prefer: "wait=20", ...headers });
  return (await response.json()) as State;
}

/** Sends to 张三, who is in a direct conversation. */
export const sendContent = (bridge: TestBridge, content: object, extra: object = {}): Promise<State> =>
  send(bridge, { to: "user:staff001", content, ...extra });

/** Hands a file to the bridge; its id. */
export async function uploadFile(bridge: { url: string }, data: Uint8Array, fileName: string): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(data)]), fileName);
  const response = await fetch(new URL("/v1/media", bridge.url), {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, connection: "close" },
    body: form,
  });
  const answer = (await response.json()) as { id: string };
  expect(response.status, JSON.stringify(answer)).toBe(201);
  return answer.id;
}

/** A group that the bridge knows, its webhook fresh. */
export async function openGroup(bridge: TestBridge): Promise<string> {
  const push = await bridge.dingtalk.say({ text: "hi", group: "测试群" });
  await push.acked();
  return (push.body as { conversationId: string }).conversationId;
}

/** Lets what was said in the direct conversation come in, so that its webhook is known. */
export async function openDirect(bridge: TestBridge): Promise<void> {
  await (await bridge.dingtalk.say({ text: "hi" })).acked();
}

export interface FileServer {
  url: string;
  /** By path. A function answers by itself. */
  files: Map<string, Buffer | ((request: IncomingMessage, response: ServerResponse) => void)>;
  asked: string[];
  close(): Promise<void>;
}

/** Serves files at the gateway's origin: give its URL as BRIDGE_GATEWAY_URL. */
export async function startFileServer(): Promise<FileServer> {
  const files: FileServer["files"] = new Map();
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url?.split("?")[0] ?? "";
    const file = files.get(path);
    if (file) asked.push(path);
    if (typeof file === "function") return file(request, response);
    response.writeHead(file ? 200 : 404, { connection: "close" }).end(file);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    files,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
