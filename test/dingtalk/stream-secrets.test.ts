import { Agent as HttpAgent } from "node:http";
import { DWClient } from "dingtalk-stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StreamSessionOptions } from "../../src/dingtalk/stream-session.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Made, type RawServer, app, frame, makeSession, robotTopic, startRawServer } from "./stream-support.ts";

const TICKET = "ticket-7724109a/+ x";
const WEBHOOK = "https://oapi.dingtalk.com/robot/sendBySession?session=abcdef0123456789";
const made: Made[] = [];
const consoleCalls: unknown[][] = [];
let sim: DingtalkSimulator;
let raw: RawServer;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app] });
  raw = await startRawServer({ ticket: TICKET });
  consoleCalls.length = 0;
  for (const method of ["log", "info", "warn", "error", "debug"] as const) {
    vi.spyOn(console, method).mockImplementation((...args) => void consoleCalls.push(args));
  }
});

afterEach(async () => {
  for (const one of made.splice(0)) await one.close();
  await raw.close();
  await sim.close();
  vi.restoreAllMocks();
});

async function begin(url: string, more: Partial<StreamSessionOptions> = {}): Promise<Made> {
  const one = makeSession(url, more);
  made.push(one);
  await one.session.start();
  return one;
}

const failures = (one: Made) => one.lines("stream not connected").length;

function expectNoSecret(one: Made): void {
  const text = [one.logText(), JSON.stringify(one.session.health()), JSON.stringify(consoleCalls)].join("\n");
  for (const secret of [app.appSecret, TICKET, WEBHOOK]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain(encodeURIComponent(secret));
    expect(text).not.toContain(new URLSearchParams({ s: secret }).toString().slice(2));
  }
  expect(one.logText()).not.toBe("");
  expect(consoleCalls).toEqual([]);
}

describe("no secret in logs and health, nothing on the console", () => {
  const echo = `you sent ${app.appSecret} and ${encodeURIComponent(app.appSecret)}`;

  it.each([
    ["echoed in a 400", { kind: "answer", status: 400, body: { code: "bad", message: echo } }],
    ["echoed in a 401", { kind: "answer", status: 401, body: { code: "authFailed", message: echo } }],
    ["echoed in a 503", { kind: "answer", status: 503, body: { code: echo, message: echo } }],
    ["echoed in HTML", { kind: "answer", status: 400, body: `<html>${echo}</html>`, contentType: "text/html" }],
    ["truncated answer", { kind: "truncated" }],
    ["short body", { kind: "shortBody" }],
    ["reset", { kind: "reset" }],
    ["XML", { kind: "xml" }],
    ["foreign endpoint", { kind: "endpoint", endpoint: "wss://user:pw@evil.example/connect" }],
    ["an endpoint that is no URL", { kind: "endpoint", endpoint: "nowhere" }],
  ] as const)("open call: %s", async (_name, fault) => {
    sim.faults.open(fault);
    const one = await begin(sim.url);
    await vi.waitFor(() => expect(failures(one)).toBeGreaterThan(0));
    expectNoSecret(one);
  });

  it.each([
    ["refused", { kind: "status", status: 401 }],
    ["reset", { kind: "reset" }],
    ["hanging", { kind: "hang" }],
  ] as const)("handshake: %s", async (_name, fault) => {
    sim.faults.connect(fault);
    const one = await begin(sim.url, { timings: { handshakeTimeoutMs: 50 } });
    await vi.waitFor(() => expect(failures(one)).toBeGreaterThan(0));
    expectNoSecret(one);
  });

  it("an agent that cannot be made", async () => {
    const one = await begin(raw.url, {
      webSocketAgent: (url) => {
        throw new Error(`no proxy for ${url.href} (${TICKET})`);
      },
    });
    await vi.waitFor(() => expect(failures(one)).toBeGreaterThan(0));
    expect(String(one.lines("stream not connected")[0]?.["reason"])).toContain("no proxy for");
    expectNoSecret(one);
  });

  it("a whole life, with a close reason that repeats the ticket", async () => {
    const one = await begin(raw.url, { onPush: () => Promise.reject(new Error("disk full")) });
    await vi.waitFor(() => expect(raw.live()).toBe(1));
    raw.sockets[0]?.send(frame("CALLBACK", robotTopic, "id1", { sessionWebhook: WEBHOOK, text: "geheim" }));
    raw.sockets[0]?.send(frame("SYSTEM", "disconnect", "d1", { reason: "persistent connection is timeout" }));
    await vi.waitFor(() => expect(raw.sockets).toHaveLength(2));
    await vi.waitFor(() => expect(raw.live()).toBe(1));
    raw.sockets[1]?.close(1008, `bad ${TICKET}`);
    await vi.waitFor(() => expect(one.lines("stream closed")).toHaveLength(2));
    await vi.waitFor(() => expect(raw.live()).toBe(1));
    await one.session.stop({ signal: AbortSignal.timeout(5_000) });
    expect(one.lines("stream closed")[1]).toMatchObject({ code: 1008, said: "bad [redacted]" });
    expect(one.logText()).not.toContain("geheim");
    expectNoSecret(one);
  });

  it("an empty credential is refused before the SDK can print about it", async () => {
    const one = await begin(sim.url, { account: { name: "main", appKey: app.appKey, appSecret: "" } });
    await vi.waitFor(() => expect(one.session.health()).toMatchObject({ code: "stream_bad_credentials" }));
    expect(consoleCalls).toEqual([]);
  });
});

describe("what the SDK does by itself is out of reach", () => {
  it("none of its own connecting, parsing, answering or printing runs", async () => {
    const own = [
      "getEndpoint",
      "_connect",
      "connect",
      "disconnect",
      "onDownStream",
      "onSystem",
      "onEvent",
      "onCallback",
    ] as const;
    const spies = [...own, "send", "printDebug", "heartbeat", "getAccessToken"].map((name) =>
      vi.spyOn(DWClient.prototype, name as (typeof own)[number]),
    );
    const one = await begin(raw.url);
    await vi.waitFor(() => expect(raw.live()).toBe(1));
    raw.sockets[0]?.send(frame("SYSTEM", "ping", "p1"));
    raw.sockets[0]?.send(frame("EVENT", "*", "e1"));
    raw.sockets[0]?.send(frame("CALLBACK", robotTopic, "c1"));
    await vi.waitFor(() => expect(raw.received).toHaveLength(3));
    raw.sockets[0]?.terminate();
    await vi.waitFor(() => expect(raw.sockets).toHaveLength(2));
    await one.session.stop({ signal: AbortSignal.timeout(5_000) });
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
    expect(consoleCalls).toEqual([]);
  });

  it("its shared default subscriptions are neither used nor changed", async () => {
    const topics = () =>
      new DWClient({ clientId: "a", clientSecret: "b" }).config.subscriptions.map(({ topic }) => topic);
    const before = topics();
    await begin(sim.url, { subscriptions: [{ type: "CALLBACK", topic: robotTopic }] });
    await vi.waitFor(() => expect(sim.connections).toHaveLength(1));
    expect(sim.connections[0]?.subscriptions).toEqual([{ type: "CALLBACK", topic: robotTopic }]);
    expect(topics()).toEqual(before);
  });

  it("the agent given for the WebSocket is used, and gets the URL", async () => {
    const agent = new HttpAgent();
    const used = vi.spyOn(agent, "createConnection");
    const hosts: string[] = [];
    await begin(raw.url, {
      webSocketAgent: (url) => {
        hosts.push(url.host);
        return agent;
      },
    });
    await vi.waitFor(() => expect(raw.live()).toBe(1));
    expect(used).toHaveBeenCalledOnce();
    expect(hosts).toEqual([new URL(raw.url).host]);
  });
});
