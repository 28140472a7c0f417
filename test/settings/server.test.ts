import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP, TOKEN } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";
import { pngOf } from "../support/sample-files.ts";
import { bridgeWith, send } from "./support.ts";

const closing = { headers: { connection: "close" } };

it("BRIDGE_HOST: only that address is listened on", async () => {
  const bridge = await bridgeWith({ BRIDGE_HOST: "127.0.0.2" });
  const { port } = new URL(bridge.url);
  expect((await fetch(`http://127.0.0.2:${port}/healthz`, closing)).status).toBe(200);
  await expect(fetch(`${bridge.url}/healthz`, closing)).rejects.toThrow("fetch failed");
});

it("BRIDGE_PORT: is the port", async () => {
  const port = await freePort();
  await bridgeWith({ BRIDGE_PORT: String(port) });
  expect((await fetch(`http://127.0.0.1:${port}/healthz`, closing)).status).toBe(200);
});

it("BRIDGE_PUBLIC_URL: links to files begin with it", async () => {
  const bridge = await bridgeWith({ BRIDGE_PUBLIC_URL: "http://bridge.example:1234" });
  await (await bridge.dingtalk.say({ msgtype: "picture" })).acked();
  await expect.poll(() => bridge.gateway.taken.length).toBe(1);
  expect(JSON.stringify(bridge.gateway.taken)).toContain('"http://bridge.example:1234/v1/media/m_');
});

it("BRIDGE_METRICS_PUBLIC: metrics need no token, or do", async () => {
  for (const [on, status] of Object.entries({ true: 200, false: 401 })) {
    const bridge = await bridgeWith({ BRIDGE_METRICS_PUBLIC: on });
    expect((await fetch(`${bridge.url}/metrics`, closing)).status).toBe(status);
  }
});

/** A file takes the older API, everything else the newer one. */
it("DINGTALK_API_BASE, DINGTALK_OAPI_BASE: are where DingTalk is", async () => {
  const older = await startDingtalkSimulator({ apps: [APP] });
  onTestFinished(() => older.close());
  const newer = await startDingtalkSimulator({ apps: [APP] });
  onTestFinished(() => newer.close());
  const connected = newer.waitFor("connected");
  const bridge = await bridgeWith(
    { DINGTALK_API_BASE: newer.url, DINGTALK_OAPI_BASE: older.url },
    { unconnected: true },
  );
  await connected;
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(pngOf("a"))]), "a.png");
  const upload = await fetch(`${bridge.url}/v1/media`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, connection: "close" },
    body: form,
  });
  const { id } = (await upload.json()) as { id: string };
  const body = { to: "user:staff001", content: { type: "image", media: { id } } };
  expect((await bridge.api("POST", "/v1/messages", body)).status).toBe(202);
  await expect.poll(() => older.requests.map(({ api }) => api)).toContain("media/upload");
  expect(bridge.dingtalk.requests).toEqual([]);
});

/** An HTTP proxy that refuses everybody; what it was asked for. */
async function refusingProxy(): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(502, { connection: "close" }).end();
  });
  server.on("connect", (request, socket) => {
    asked.push(request.url ?? "");
    socket.end("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

it("HTTPS_PROXY: calls to DingTalk go through it, those to the gateway do not", async () => {
  const proxy = await refusingProxy();
  const bridge = await bridgeWith({ HTTPS_PROXY: proxy.url }, { unconnected: true });
  const { host } = new URL(bridge.dingtalk.url);
  await expect.poll(() => proxy.asked.join()).toContain(host);
  await expect.poll(() => bridge.app.health().components["gateway"]?.status).toBe("ok");
  expect(bridge.dingtalk.requests).toEqual([]);
});

it("NO_PROXY: those hosts are reached without it", async () => {
  const proxy = await refusingProxy();
  const bridge = await bridgeWith({ HTTPS_PROXY: proxy.url, NO_PROXY: "localhost,127.0.0.1" });
  expect(await send(bridge, "user:staff001", "direct")).toMatchObject({ status: "delivered" });
  expect(proxy.asked).toEqual([]);
});
