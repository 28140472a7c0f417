import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { TOKEN, type TestBridge, startBridge } from "../support/bridge.ts";
import { noise, pngOf } from "../support/sample-files.ts";

const MB = 1_024 * 1_024;

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

async function upload({ url }: TestBridge, data: Buffer) {
  const body = new FormData();
  body.append("file", new Blob([new Uint8Array(data)]), "a.png");
  const headers = { authorization: `Bearer ${TOKEN}`, connection: "close" };
  const response = await fetch(new URL("/v1/media", url), { method: "POST", headers, body });
  return { http: response.status, ...((await response.json()) as { id: string; code?: string }) };
}

async function bytesOf(bridge: TestBridge, id: string): Promise<Buffer> {
  const response = await bridge.api("GET", `/v1/media/${id}`);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

it("keeps files across a restart, without what a crash left, and takes none beyond the configured size", async () => {
  bridge = await startBridge({ env: { BRIDGE_MEDIA_MAX_MB: "1" } });
  const data = pngOf("kept");
  const { id } = await upload(bridge, data);
  const directory = join(bridge.dataDir, "media");
  writeFileSync(join(directory, `m_${"1".repeat(32)}.part`), "half");
  await bridge.restart();
  expect(readdirSync(directory)).toEqual([id]);
  expect(await bytesOf(bridge, id)).toEqual(data);
  expect(await upload(bridge, noise("most", MB))).toMatchObject({ http: 201 });
  expect(await upload(bridge, noise("more", MB + 1))).toMatchObject({ http: 413, code: "media_too_large" });
  const metrics = await (await bridge.api("GET", "/metrics")).text();
  expect(metrics).toContain("\ndingtalk_bridge_media_files 2\n");
  expect(metrics).toContain(`\ndingtalk_bridge_media_bytes ${data.byteLength + MB}\n`);
  const { components } = (await (await bridge.api("GET", "/healthz")).json()) as { components: object };
  expect(components).toMatchObject({ "media-expiry": { status: "ok" } });
});

it("refuses files before anything else when the disk runs full", async () => {
  const disk = { free: 1_000 * MB };
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    overrides: { watch: { everyMs: 20, freeBytes: () => Promise.resolve(disk.free) } },
  });
  const api = bridge.api.bind(bridge);
  const data = pngOf("before");
  const { id } = await upload(bridge, data);
  disk.free = 150 * MB;
  const health = async () => (await api("GET", "/healthz")).json();
  await expect.poll(health).toMatchObject({ status: "degraded" });
  expect(await upload(bridge, data)).toMatchObject({ http: 503, code: "disk_low", mend: expect.any(String) });
  expect(await bytesOf(bridge, id)).toEqual(data);
  const message = { to: "user:staff001", content: { type: "text", text: "still sent" } };
  expect((await api("POST", "/v1/messages", message)).status).toBe(202);
});

it("serves files to the end of a stop, when it takes none any more", async () => {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
  const { app, dingtalk } = bridge;
  const data = pngOf("stop");
  const { id } = await upload(bridge, data);
  // The outbox ends its attempt, so the stop takes as long as that.
  dingtalk.faults.api("oToMessages/batchSend", { kind: "slow", delayMs: 2_500, count: 1 });
  const slow = { to: "user:staff001", content: { type: "text", text: "slow" } };
  await bridge.api("POST", "/v1/messages", slow);
  await expect.poll(() => dingtalk.requests.some((one) => one.api === "oToMessages/batchSend")).toBe(true);
  const stopped = app.stop({ signal: AbortSignal.timeout(10_000) });
  await expect.poll(async () => bridge && (await upload(bridge, data)).code).toBe("stopping");
  expect(await bytesOf(bridge, id)).toEqual(data);
  expect(await stopped).toBe(true);
});
