import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";
import { FaultProxy } from "../support/fault-proxy.ts";

let toDingtalk: FaultProxy;
let toGateway: FaultProxy;
let bridge: TestBridge;

/** The Stream's own times, so short that a test may wait for them. */
const STREAM = {
  openTimeoutMs: 500,
  handshakeTimeoutMs: 500,
  pingEveryMs: 100,
  backoffBaseMs: 20,
  backoffCapMs: 100,
  closeWaitMs: 50,
  drainMs: 200,
};

beforeEach(async () => {
  const ports = { dingtalk: await freePort(), gateway: await freePort() };
  toDingtalk = await FaultProxy.start(ports.dingtalk);
  toGateway = await FaultProxy.start(ports.gateway);
  bridge = await startBridge({
    dingtalk: { port: ports.dingtalk, publicUrl: toDingtalk.url, knobs: { redeliverAfterMs: 300, redeliveries: 20 } },
    gateway: { port: ports.gateway },
    env: {
      DINGTALK_API_BASE: toDingtalk.url,
      DINGTALK_OAPI_BASE: toDingtalk.url,
      BRIDGE_GATEWAY_URL: toGateway.url,
      BRIDGE_GATEWAY_TIMEOUT: "300ms",
    },
    overrides: { streamTimings: STREAM },
  });
  // DingTalk knows of a connection before the bridge has read that it is open.
  await expect.poll(() => metric("stream_connected", "main")).toBe(1);
});

afterEach(async () => {
  // First, because a stop waits for what is under way.
  for (const proxy of [toDingtalk, toGateway]) proxy.set({ kind: "pass" });
  await bridge.close();
  await toDingtalk.close();
  await toGateway.close();
});

const texts = (): string[] => bridge.dingtalk.sent.map(({ text }) => text);
const taken = (): string[] => bridge.gateway.taken.flatMap((one) => (one.type === "message" ? [one.message.text] : []));
const opens = () => bridge.dingtalk.requests.filter(({ api }) => api === "connections/open");

async function metric(name: string, labels: string): Promise<number> {
  const text = await (await bridge.api("GET", "/metrics")).text();
  const line = text.split("\n").find((one) => one.startsWith(`dingtalk_bridge_${name}{`) && one.includes(labels));
  return Number(line?.split(" ").at(-1) ?? 0);
}

/** Attempts to connect as DingTalk saw them: none began before the one before it had its answer. */
function expectOneAttemptAtATime(): void {
  const attempts = opens().map(({ at, durationMs }) => ({ began: at, ended: at + durationMs }));
  for (const [index, { began }] of attempts.entries()) {
    if (index > 0) expect(began).toBeGreaterThanOrEqual(attempts[index - 1]?.ended ?? 0);
  }
  expect(bridge.dingtalk.problems).toEqual([]);
}

describe("the Stream", () => {
  it("replaces a socket that is half open, and messages flow again", async () => {
    expect(toDingtalk.open(true)).toBe(1);
    toDingtalk.setWebSockets({ kind: "black-hole", way: "both" });
    const lost = await bridge.dingtalk.say({ text: "in the dark" });
    await bridge.dingtalk.waitFor("connected");
    // DingTalk pushes again what nobody acked: its old connection still looks alive to it, so that may take some rounds.
    await bridge.dingtalk.say({ text: "in the light" });
    await lost.acked(15_000);
    const both = expect.arrayContaining(["收到:in the dark", "收到:in the light"]);
    await expect.poll(texts, { timeout: 15_000 }).toEqual(both);
    expect(opens().length).toBe(2);
    expectOneAttemptAtATime();
    await expect.poll(() => metric("stream_closes_total", 'reason="dead"')).toBe(1);
    expect(await metric("stream_gaps_total", "account")).toBe(1);
  });

  it("replaces one on which nothing arrives any more, although what it sends gets there", async () => {
    toDingtalk.setWebSockets({ kind: "black-hole", way: "down" });
    await bridge.dingtalk.waitFor("connected");
    await bridge.dingtalk.say({ text: "again" });
    await expect.poll(texts, { timeout: 10_000 }).toContain("收到:again");
    expectOneAttemptAtATime();
  });

  it("makes one attempt at a time while DingTalk cannot be reached, and comes back", async () => {
    toDingtalk.refuse();
    toDingtalk.reset();
    await expect.poll(() => metric("stream_connects_total", "stream_unreachable")).toBeGreaterThan(2);
    await toDingtalk.listen();
    toDingtalk.set({ kind: "black-hole", way: "down" });
    await expect.poll(() => metric("stream_connects_total", "stream_timeout")).toBeGreaterThan(0);
    expect(toDingtalk.open()).toBeLessThanOrEqual(2);
    toDingtalk.set({ kind: "reset" });
    toDingtalk.reset();
    await expect.poll(() => toDingtalk.accepted).toBeGreaterThan(5);
    toDingtalk.set({ kind: "pass" });
    await bridge.dingtalk.waitFor("connected");
    await bridge.dingtalk.say({ text: "back" });
    await expect.poll(texts).toContain("收到:back");
    expect(toDingtalk.open(true)).toBe(1);
  });
});

describe("the gateway", () => {
  it("gets a message once more when the network swallowed the answer, and takes it once", async () => {
    toGateway.set({ kind: "black-hole", way: "down" });
    await bridge.dingtalk.say({ text: "did you hear" });
    await expect.poll(taken).toEqual(["did you hear"]);
    await expect.poll(() => bridge.logs.text).toContain("gateway_timeout");
    toGateway.set({ kind: "pass" });
    toGateway.reset();
    await expect.poll(() => bridge.gateway.received.at(-1)?.status, { timeout: 10_000 }).toBe(409);
    await bridge.dingtalk.say({ text: "and this" });
    await expect.poll(taken).toEqual(["did you hear", "and this"]);
    await expect.poll(texts).toEqual(["收到:did you hear", "收到:and this"]);
    expect(
      bridge.gateway.received.filter(({ envelope }) => envelope.id === bridge.gateway.taken[0]?.id).length,
    ).toBeGreaterThan(1);
  });

  it("gets everything in order over a network that resets, delays and trickles", async () => {
    const said = Array.from({ length: 12 }, (_, n) => `n${n}`);
    for (const [n, text] of said.entries()) {
      await bridge.dingtalk.say({ text });
      if (n === 2) toGateway.reset();
      if (n === 4) toGateway.set({ kind: "latency", ms: 30 });
      if (n === 7) toGateway.set({ kind: "throttle", bytesPerSecond: 20_000 });
      if (n === 9) toGateway.set({ kind: "cut-answer", afterBytes: 40 });
    }
    await expect.poll(() => bridge.gateway.received.length).toBeGreaterThan(0);
    toGateway.set({ kind: "pass" });
    toGateway.reset();
    await expect.poll(taken, { timeout: 15_000 }).toEqual(said);
    await expect.poll(texts, { timeout: 10_000 }).toEqual(said.map((text) => `收到:${text}`));
  });
});

describe("a send to DingTalk", () => {
  it.each([
    ["whose answer is a reset", { kind: "cut-answer", afterBytes: 0 }],
    ["whose answer breaks off half way", { kind: "cut-answer", afterBytes: 320 }],
  ] as const)("%s is uncertain: said so, counted, and made again", async (_, fault) => {
    // Long enough for the fault to be set between the two sides of the bridge.
    bridge.gateway.mode = { kind: "silent" };
    await bridge.dingtalk.say({ text: "hello" });
    await expect.poll(taken).toEqual(["hello"]);
    toDingtalk.setHttp(fault);
    const answer = await bridge.api("POST", "/v1/messages", {
      to: "user:staff001",
      content: { type: "text", text: "one answer" },
    });
    const { id } = (await answer.json()) as { id: string };
    await expect.poll(texts).toEqual(["one answer"]);
    await expect.poll(() => metric("uncertain_total", 'queue="outbox"')).toBeGreaterThan(0);
    toDingtalk.setHttp({ kind: "pass" });
    const view = async (): Promise<unknown> => (await bridge.api("GET", `/v1/messages/${id}`)).json();
    await expect.poll(view, { timeout: 15_000 }).toMatchObject({ status: "delivered", uncertain: true });
    expect(texts().length).toBeGreaterThan(1);
    expect(new Set(texts())).toEqual(new Set(["one answer"]));
  });
});
