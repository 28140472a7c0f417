import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { APP, TOKEN } from "../support/bridge.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import { FORM, formOf } from "./media-server.ts";

const MB = 1_024 * 1_024;
const SIZE = 20 * MB;
const BLOCK = Buffer.alloc(64 * 1_024, "block");

let directory: string;
let daemon: Daemon;
let url: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "bridge-memory-"));
  const port = await freePort();
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  url = `http://127.0.0.1:${port}`;
  daemon = new Daemon({
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: nowhere,
    DINGTALK_OAPI_BASE: nowhere,
    BRIDGE_GATEWAY_URL: nowhere,
    BRIDGE_PORT: String(port),
    BRIDGE_DATA_DIR: directory,
    LOG_LEVEL: "fatal",
  });
  // As the image and the systemd unit start it: a larger young generation lets more dead buffers lie about.
  daemon.start({ nodeArgs: ["--max-semi-space-size=2"] });
  const listens = async (): Promise<boolean> =>
    (await fetch(`${url}/livez`, { headers: { connection: "close" } }).catch(() => undefined))?.ok ?? false;
  await vi.waitUntil(listens, { timeout: 20_000, interval: 100 });
}, 30_000);
afterAll(async () => {
  await daemon.stop();
  rmSync(directory, { recursive: true, force: true });
});

const headers = { authorization: `Bearer ${TOKEN}`, connection: "close" };
const [before = Buffer.alloc(0), after = Buffer.alloc(0)] = splitForm();

/** The form around a file. */
function splitForm(): Buffer[] {
  const form = formOf([{ name: "file", fileName: "a.bin", data: "|" }]);
  const at = form.indexOf("|");
  return [form.subarray(0, at), form.subarray(at + 1)];
}

function* bodyOf(size: number): Generator<Uint8Array> {
  yield before;
  for (let left = size; left > 0; left -= BLOCK.byteLength) yield BLOCK.subarray(0, left);
  yield after;
}

/** Without keeping the body here either. */
async function upload(size: number): Promise<{ status: number; id: string }> {
  const body = ReadableStream.from(bodyOf(size));
  const init = { method: "POST", body, duplex: "half" as const, headers: { ...headers, "content-type": FORM } };
  const response = await fetch(`${url}/v1/media`, init);
  const { id } = (await response.json()) as { id: string };
  return { status: response.status, id };
}

async function download(id: string): Promise<number> {
  const response = await fetch(`${url}/v1/media/${id}`, { headers });
  let bytes = 0;
  for await (const chunk of response.body ?? []) bytes += chunk.byteLength;
  return bytes;
}

/** Somebody who asks for a file and reads none of it. */
async function askWithoutReading(id: string): Promise<() => Promise<unknown>> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.write(`GET /v1/media/${id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`);
  await once(socket, "readable");
  return () => {
    socket.destroy();
    return once(socket, "close");
  };
}

/** Of the daemon, over what it had before, while `work` runs. */
async function growthMb(work: () => Promise<void>): Promise<number> {
  const warm = daemon.rssMb();
  // Forgets the peak of the process so far.
  writeFileSync(`/proc/${daemon.pid}/clear_refs`, "5");
  await work();
  return daemon.peakRssMb() - warm;
}

it("takes, refuses and serves 20 MB in flat memory", { timeout: 120_000 }, async () => {
  // As many bytes in small files first: what the collector leaves lying about belongs to no file's size.
  for (let n = 0; n < 20; n += 1) expect(await download((await upload(MB)).id)).toBe(MB);
  const growth = await growthMb(async () => {
    const files: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      const { status, id } = await upload(SIZE);
      expect(status).toBe(201);
      expect(await download(id)).toBe(SIZE);
      files.push(id);
    }
    expect((await upload(3 * SIZE)).status).toBe(413);
    const slow = await Promise.all(files.map(askWithoutReading));
    await Promise.all(slow.map((leave) => leave()));
  });
  expect(growth).toBeLessThan(30);
});
