import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pino } from "pino";
import type { BridgeError } from "../../src/domain/errors.ts";
import type { Scope } from "../../src/flows/messages.ts";
import { MediaFiles } from "../../src/flows/media-files.ts";
import { Media } from "../../src/flows/media.ts";
import { HttpServer, type HttpServerOptions } from "../../src/http/server.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";

export const MAX_BYTES = 1_024 * 1_024;
export const TOKENS = { main: "token-of-account-main", second: "token-of-account-second", all: "token-of-all-of-them" };

/** The API with real files and a real store, without the rest of the daemon. */
export async function startMediaServer() {
  const directory = mkdtempSync(join(tmpdir(), "bridge-http-media-"));
  const metrics = createMetrics();
  const log: Record<string, unknown>[] = [];
  const logger = pino({}, { write: (line) => log.push(JSON.parse(line) as Record<string, unknown>) });
  const held: DatabaseSync[] = [];
  const openFile = (file: string): DatabaseSync => {
    const db = new DatabaseSync(file);
    held.push(db);
    return db;
  };
  const store = new SqliteStore({ directory, metrics, openFile });
  const knobs: { refusal: BridgeError | undefined } = { refusal: undefined };
  const files = new MediaFiles({ directory: join(directory, "100% media"), refusal: () => knobs.refusal, logger });
  const clock = { now: () => Date.now(), monotonic: () => performance.now() };
  const accounts = () => ["main", "second"];
  const media = new Media({ store: store.media, files, accounts, maxBytes: MAX_BYTES, clock, logger });
  const never = (): never => {
    throw new Error("no other route is called");
  };
  const scopes: Record<keyof typeof TOKENS, Scope> = {
    main: { account: "main" },
    second: { account: "second" },
    all: { account: undefined },
  };
  const server = new HttpServer({
    host: "127.0.0.1",
    port: 0,
    version: "0.0.0-test",
    grants: () =>
      Object.entries(TOKENS).map(([name, token]) => ({ token, scope: scopes[name as keyof typeof TOKENS] })),
    messages: Object.create(null) as HttpServerOptions["messages"],
    streams: Object.create(null) as HttpServerOptions["streams"],
    activity: Object.create(null) as HttpServerOptions["activity"],
    deadLetters: Object.create(null) as HttpServerOptions["deadLetters"],
    erasures: Object.create(null) as HttpServerOptions["erasures"],
    media,
    health: never,
    status: never,
    probeStore: never,
    metrics,
    metricsPublic: false,
    sampleMetrics: never,
    logger,
  });
  await server.start();
  const { port = 0 } = server;
  const url = `http://127.0.0.1:${port}`;
  return {
    server,
    store,
    files,
    log,
    knobs,
    port,
    url,
    /** From now on the store takes no writes. */
    breakStore: (): void => {
      for (const db of held) db.exec("PRAGMA query_only = 1");
    },
    /** Names in the media directory: finished files and others. */
    onDisk: (): string[] => readdirSync(join(directory, "100% media")),
    call: (method: string, path: string, init: RequestInit & { token?: string } = {}): Promise<Response> => {
      const { token = TOKENS.main, headers, ...rest } = init;
      return fetch(new URL(path, url), {
        method,
        ...rest,
        headers: { authorization: `Bearer ${token}`, connection: "close", ...(headers as Record<string, string>) },
      });
    },
    async close() {
      await server.stop();
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export type MediaServer = Awaited<ReturnType<typeof startMediaServer>>;

/** A form by hand: what a client may send, right or wrong. */
export function formOf(parts: { name: string; fileName?: string; type?: string; data: Buffer | string }[]): Buffer {
  const pieces = parts.flatMap(({ name, fileName, type, data }) => [
    Buffer.from(`--limit\r\ncontent-disposition: form-data; name="${name}"`),
    Buffer.from(fileName === undefined ? "" : `; filename="${fileName}"`),
    Buffer.from(type === undefined ? "\r\n\r\n" : `\r\ncontent-type: ${type}\r\n\r\n`),
    Buffer.from(data),
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([...pieces, Buffer.from("--limit--\r\n")]);
}

export const FORM = "multipart/form-data; boundary=limit";

export interface RawAnswer {
  status: number | undefined;
  type: string | undefined;
  body: Record<string, unknown>;
  /** Our end's port: the same for calls over the same connection. */
  connection: number | undefined;
}

/** POSTs over one connection that is kept as long as the server lets it. */
export function keptConnection({ port }: MediaServer) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = (chunks: Iterable<Buffer>, headers: Record<string, string | number>): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      const authorization = `Bearer ${TOKENS.main}`;
      const call = request({ port, agent, method: "POST", path: "/v1/media", headers: { authorization, ...headers } });
      call.once("error", reject);
      call.once("response", (response: IncomingMessage) => {
        void response.toArray().then((data: Buffer[]) => {
          const text = Buffer.concat(data).toString();
          const body = JSON.parse(text) as Record<string, unknown>;
          resolve({
            status: response.statusCode,
            type: response.headers["content-type"],
            body,
            connection: call.socket?.localPort,
          });
        }, reject);
      });
      for (const chunk of chunks) call.write(chunk);
      call.end();
    });
  return { post, close: () => agent.destroy() };
}
