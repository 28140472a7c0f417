import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { type FileServer, openDirect, sendContent, startFileServer } from "../support/outbound.ts";
import { pngOf } from "../support/sample-files.ts";

let bridge: TestBridge;
let server: FileServer;

async function start(env: Record<string, string> = {}): Promise<void> {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { BRIDGE_GATEWAY_URL: server.url, ...env },
  });
}

beforeEach(async () => {
  server = await startFileServer();
});
afterEach(async () => {
  await bridge.close();
  await server.close();
});

const image = (path: string) => ({ type: "image", media: { url: `${server.url}${path}` } });

async function post(to: string, content: object): Promise<string> {
  const response = await bridge.api("POST", "/v1/messages", { to, content });
  return ((await response.json()) as { id: string }).id;
}

const stateOf = async (id: string): Promise<unknown> => (await bridge.api("GET", `/v1/messages/${id}`)).json();

/** Answers when the test says so. */
function slowFile(path: string, bytes: Buffer): { asked: ServerResponse[]; goOn: () => void } {
  const asked: ServerResponse[] = [];
  const answer = (response: ServerResponse): void => void response.writeHead(200, { connection: "close" }).end(bytes);
  server.files.set(path, (_request, response) => void asked.push(response));
  return {
    asked,
    goOn: () => {
      server.files.set(path, bytes);
      for (const response of asked) answer(response);
    },
  };
}

describe("a stop", () => {
  it.each([
    ["a file", (url: string) => ({ type: "image", media: { url } })],
    ["a picture in a text", (url: string) => ({ type: "markdown", text: `![x](${url})` })],
  ])(
    "does not wait for %s whose server hangs: it is clean, and it is sent after the next start",
    async (_what, content) => {
      await start();
      const { asked, goOn } = slowFile("/hangs.png", pngOf("hangs"));
      const id = await post("user:staff001", content(`${server.url}/hangs.png`));
      await expect.poll(() => asked.length).toBe(1);
      // Less than the bridge waits for a file.
      expect(await bridge.app.stop({ signal: AbortSignal.timeout(10_000) })).toBe(true);
      goOn();
      await bridge.restart();
      await expect.poll(() => stateOf(id), { timeout: 10_000 }).toMatchObject({ status: "delivered", attempts: 0 });
      expect(await stateOf(id)).not.toHaveProperty("uncertain");
      expect(bridge.dingtalk.sent).toHaveLength(1);
      expect(bridge.dingtalk.media.uploaded).toHaveLength(1);
    },
  );
});

it("slow files leave a place for words, also where few calls a second are allowed", async () => {
  await start({ BRIDGE_LIMITS_API_PER_SECOND: "5" });
  const { asked, goOn } = slowFile("/slow.png", pngOf("slow"));
  const people = Array.from({ length: 6 }, (_, n) => `slow${n}`);
  for (const person of people) await (await bridge.dingtalk.say({ text: "hi", from: person })).acked();
  await openDirect(bridge);
  const ids = await Promise.all(people.map((person) => post(`user:${person}`, image("/slow.png"))));
  await expect.poll(() => asked.length).toBe(4);
  expect(await sendContent(bridge, { type: "text", text: "dazwischen" })).toMatchObject({ status: "delivered" });
  expect(asked).toHaveLength(4);
  goOn();
  for (const id of ids)
    await expect.poll(() => stateOf(id), { timeout: 10_000 }).toMatchObject({ status: "delivered" });
});

it("a file whose row cannot be stored is not left on the disk, however often it is tried", async () => {
  await start();
  server.files.set("/x.png", pngOf("x"));
  const db = new DatabaseSync(join(bridge.dataDir, "bridge.db"), { timeout: 5_000 });
  db.exec("CREATE TRIGGER no_media BEFORE INSERT ON media BEGIN SELECT raise(ABORT, 'no'); END");
  const id = await post("user:staff001", image("/x.png"));
  await expect.poll(() => server.asked.length, { timeout: 15_000 }).toBeGreaterThan(1);
  db.exec("DROP TRIGGER no_media");
  db.close();
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toMatchObject({ status: "delivered" });
  expect(readdirSync(join(bridge.dataDir, "media"))).toHaveLength(1);
}, 40_000);
