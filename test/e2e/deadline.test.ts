import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type GatewaySimulator, startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { APP, TOKEN } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface World {
  dingtalk: DingtalkSimulator;
  gateway: GatewaySimulator;
  directory: string;
  api: (path: string, body: object) => Promise<Response>;
  /** The daemon as a process of its own, connected; `preload` is a module that runs before it. */
  start: (options?: { env?: Record<string, string>; preload?: string }) => Promise<Running>;
}

interface Running {
  signal: (name: NodeJS.Signals) => void;
  said: () => string;
  /** Exit status and signal, when it has ended. */
  ended: Promise<{ status: number | null; signal: string | null }>;
}

async function world(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), "bridge-deadline-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  cleanups.push(() => dingtalk.close());
  const gateway = await startGatewaySimulator({ accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }] });
  cleanups.push(() => gateway.close());
  const port = await freePort();
  gateway.bridgeUrl = `http://127.0.0.1:${port}`;
  const start: World["start"] = async ({ env = {}, preload } = {}) => {
    const args: string[] = [];
    if (preload !== undefined) {
      const file = join(directory, "preload.mjs");
      writeFileSync(file, preload);
      args.push("--import", file);
    }
    const child = spawn(process.execPath, [...args, MAIN, "start"], {
      env: {
        HOME: directory,
        DINGTALK_APP_KEY: APP.appKey,
        DINGTALK_APP_SECRET: APP.appSecret,
        DINGTALK_API_BASE: dingtalk.url,
        DINGTALK_OAPI_BASE: dingtalk.url,
        BRIDGE_GATEWAY_URL: gateway.url,
        BRIDGE_PORT: String(port),
        BRIDGE_DATA_DIR: join(directory, "data"),
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    cleanups.push(() => child.kill("SIGKILL"));
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    const ended = once(child, "close").then(([status, signal]) => ({
      status: status as number | null,
      signal: signal as string | null,
    }));
    await expect.poll(() => output, { timeout: 15_000 }).toContain("stream connected");
    return { signal: (name) => child.kill(name), said: () => output, ended };
  };
  const api = (path: string, body: object): Promise<Response> =>
    fetch(new URL(path, gateway.bridgeUrl), {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", connection: "close" },
      body: JSON.stringify(body),
    });
  return { dingtalk, gateway, directory, api, start };
}

/** A message that the gateway has in hand, and a reply that DingTalk has in hand, both without an answer. */
async function inFlight({ dingtalk, gateway, api }: World): Promise<void> {
  gateway.mode = { kind: "hang" };
  dingtalk.faults.api("oToMessages/batchSend", { kind: "hang", count: 1 });
  await (await dingtalk.say({ text: "in" })).acked();
  const reply = await api("/v1/messages", { to: "user:staff002", content: { type: "text", text: "out" } });
  expect(reply.status).toBe(202);
  await expect.poll(() => gateway.received.length).toBe(1);
  await expect.poll(() => dingtalk.requests.filter((one) => one.api === "oToMessages/batchSend").length).toBe(1);
}

/** Started again on the same data, everything arrives. */
async function nothingLost({ dingtalk, gateway, start }: World): Promise<void> {
  gateway.mode = { kind: "silent" };
  const again = await start();
  await expect
    .poll(() => gateway.taken.map((one) => one.type === "message" && one.message.text), { timeout: 15_000 })
    .toEqual(["in"]);
  await expect.poll(() => dingtalk.sent.map(({ text }) => text), { timeout: 15_000 }).toEqual(["out"]);
  again.signal("SIGTERM");
  expect(await again.ended).toEqual({ status: 0, signal: null });
}

/** What the log says of the end. */
function cutOff(daemon: Running): unknown {
  const lines = daemon
    .said()
    .split("\n")
    .filter((line) => line.includes('"msg":"stop cut off'));
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? "");
}
const BOTH_WAYS = { level: 40, part: "inbox-lanes", underWay: { inbox: 1, outbox: 1 } };

describe("a stop that takes too long", () => {
  it("is cut off at its deadline: exit 1, and nothing is lost", async () => {
    const here = await world();
    const daemon = await here.start({ env: { BRIDGE_SHUTDOWN_DEADLINE: "300ms" } });
    await inFlight(here);
    daemon.signal("SIGTERM");
    expect(await daemon.ended).toEqual({ status: 1, signal: null });
    expect(cutOff(daemon)).toMatchObject({ why: "300 ms have passed", ...BOTH_WAYS });
    await nothingLost(here);
  });

  it("is cut off by a second signal: exit 1, and nothing is lost", async () => {
    const here = await world();
    const daemon = await here.start({ env: { BRIDGE_SHUTDOWN_DEADLINE: "10m" } });
    await inFlight(here);
    daemon.signal("SIGTERM");
    await expect.poll(daemon.said).toContain('"msg":"stopping"');
    daemon.signal("SIGINT");
    expect(await daemon.ended).toEqual({ status: 1, signal: null });
    expect(cutOff(daemon)).toMatchObject({ why: "SIGINT", ...BOTH_WAYS });
    await nothingLost(here);
  });

  it("ends with 0 when what was in flight is answered in time", async () => {
    const here = await world();
    const daemon = await here.start();
    here.gateway.mode = { kind: "silent" };
    here.dingtalk.faults.api("oToMessages/batchSend", { kind: "slow", delayMs: 500, count: 1 });
    await here.api("/v1/messages", { to: "user:staff002", content: { type: "text", text: "out" } });
    await expect.poll(() => here.dingtalk.requests.some(({ api }) => api === "oToMessages/batchSend")).toBe(true);
    daemon.signal("SIGTERM");
    expect(await daemon.ended).toEqual({ status: 0, signal: null });
    expect(here.dingtalk.sent).toHaveLength(1);
  });
});

describe("a defect", () => {
  const thrown =
    'process.on("SIGUSR2", () => setTimeout(() => { throw new Error("a defect of the test", { cause: new Error("what it came from") }); }, 1));';
  const rejected =
    'process.on("SIGUSR2", () => void Promise.reject(new Error("a defect of the test", { cause: new Error("what it came from") })));';
  const often =
    'process.on("SIGUSR2", () => setInterval(() => { throw new Error("a defect of the test", { cause: new Error("what it came from") }); }, 5));';

  it.each([
    ["uncaughtException", thrown],
    ["unhandledRejection", rejected],
    ["uncaughtException", often],
  ])("%s: says so, stops in order, exit 70, and nothing is lost", async (kind, preload) => {
    const here = await world();
    const daemon = await here.start({ preload });
    await (await here.dingtalk.say({ text: "before" })).acked();
    await expect.poll(() => here.dingtalk.sent.map(({ text }) => text)).toEqual(["收到:before"]);
    daemon.signal("SIGUSR2");
    expect(await daemon.ended).toEqual({ status: 70, signal: null });
    expect(daemon.said()).toContain(`"kind":"${kind}"`);
    expect(daemon.said()).toContain('"level":60');
    expect(daemon.said()).toContain("a defect of the test");
    expect(daemon.said()).toContain("what it came from");
    // Closed, not torn off: SQLite has put its log away.
    expect(readdirSync(join(here.directory, "data")).filter((name) => name.endsWith("-wal"))).toEqual([]);
    const again = await here.start();
    again.signal("SIGTERM");
    expect((await again.ended).status).toBe(0);
  });

  it("exits 70 within its own deadline although work is in flight, and nothing is lost", async () => {
    const here = await world();
    const daemon = await here.start({ preload: thrown, env: { BRIDGE_SHUTDOWN_DEADLINE: "10m" } });
    await inFlight(here);
    daemon.signal("SIGUSR2");
    expect(await daemon.ended).toEqual({ status: 70, signal: null });
    await nothingLost(here);
  });
});
