import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Agent, request } from "undici";
import { FaultProxy } from "../support/fault-proxy.ts";

const BODY = "x".repeat(1_000);
let server: Server;
let proxy: FaultProxy;
let agent: Agent;
let served = 0;

beforeEach(async () => {
  served = 0;
  server = createServer((_, response) => {
    served += 1;
    response.end(BODY);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy = await FaultProxy.start((server.address() as AddressInfo).port);
  agent = new Agent({ connect: { timeout: 1_000 } });
});

afterEach(async () => {
  await agent.destroy();
  await proxy.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function get(timeoutMs = 5_000): Promise<string> {
  const answer = await request(proxy.url, { dispatcher: agent, signal: AbortSignal.timeout(timeoutMs) });
  return answer.body.text();
}

it("passes everything on when told to", async () => {
  expect(await get()).toBe(BODY);
  expect([proxy.accepted, proxy.open()]).toEqual([1, 1]);
});

it("loses nothing of what a black hole held up", async () => {
  await get();
  proxy.set({ kind: "black-hole", way: "down" });
  const held = get();
  await expect.poll(() => served).toBe(2);
  proxy.set({ kind: "pass" });
  expect(await held).toBe(BODY);
  proxy.set({ kind: "black-hole", way: "up" });
  await expect(get(100)).rejects.toThrow("timeout");
  expect(served).toBe(2);
});

it("cuts an answer after so many bytes, the request being done", async () => {
  proxy.set({ kind: "cut-answer", afterBytes: 400 });
  await expect(get()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) });
  proxy.set({ kind: "cut-answer", afterBytes: 0 });
  await expect(get()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) });
  expect(served).toBe(2);
});

it("resets, refuses, and comes back on the same port", async () => {
  const { url } = proxy;
  proxy.set({ kind: "reset" });
  await expect(get()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) });
  proxy.set({ kind: "pass" });
  await get();
  proxy.refuse();
  proxy.reset();
  await expect(get()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await proxy.listen();
  expect(proxy.url).toBe(url);
  expect(await get()).toBe(BODY);
});

it("delays and throttles", async () => {
  proxy.set({ kind: "latency", ms: 5 });
  expect(await get()).toBe(BODY);
  proxy.set({ kind: "throttle", bytesPerSecond: 100_000 });
  expect(await get()).toBe(BODY);
});
