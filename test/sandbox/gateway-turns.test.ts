import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Envelope } from "../../src/domain/envelope.ts";
import {
  EVENTS_PATH,
  type GatewaySimulator,
  type GatewaySimulatorOptions,
  startGatewaySimulator,
} from "../../src/sandbox/gateway-simulator.ts";

const TOKEN = "gateway-turns-token";
let gateway: GatewaySimulator;
/** Turns end only when a test says so: they last longer than it does. */
const LONG_MS = 60_000;

async function start(options: Partial<GatewaySimulatorOptions> = {}): Promise<void> {
  gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: "dingtestkey00000001", token: TOKEN }],
    mode: { kind: "turns", turnMs: LONG_MS, retryAfterS: 3 },
    ...options,
  });
}

beforeEach(() => start());
afterEach(() => gateway.close());

const post = (id: string, conversation = "cidA"): Promise<Response> =>
  fetch(new URL(EVENTS_PATH, gateway.url), {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", connection: "close" },
    body: JSON.stringify({
      version: 1,
      id,
      type: "message",
      account: "main",
      message: { id, text: id, conversation: { kind: "direct", id: conversation } },
    }),
  });
const statusOf = async (id: string, conversation?: string): Promise<number> => (await post(id, conversation)).status;
const taken = (): string[] => gateway.taken.map(({ id }) => id);

describe("turns", () => {
  it("runs one message of a conversation at a time and holds the others in memory", async () => {
    expect(await statusOf("a1")).toBe(200);
    const held = await post("a2");
    expect([held.status, held.headers.get("retry-after")]).toEqual([202, "3"]);
    expect(await statusOf("b1", "cidB")).toBe(200);
    expect(await statusOf("a2")).toBe(202);
    expect(await statusOf("a1")).toBe(409);
    expect(taken()).toEqual(["a1", "b1"]);
    expect(gateway.unfinished).toBe(3);
  });

  it("says 200 once to who asks about a message that started meanwhile, then 409", async () => {
    gateway.mode = {
      kind: "turns",
      turnMs: (envelope: Envelope) => (envelope.id === "a1" ? 50 : LONG_MS),
      retryAfterS: 1,
    };
    await post("a1");
    expect(await statusOf("a2")).toBe(202);
    await expect.poll(taken).toEqual(["a1", "a2"]);
    expect([await statusOf("a2"), await statusOf("a2"), await statusOf("a1")]).toEqual([200, 409, 409]);
  });
});

describe("a crash", () => {
  it("resets connections, refuses, and forgets everything", async () => {
    await post("a1");
    await post("a2");
    gateway.mode = { kind: "hang" };
    const { url } = gateway;
    const end = post("c1", "cidC").then(
      () => "answered",
      (error: unknown) => (error as Error).message,
    );
    await expect.poll(() => gateway.received.length).toBe(3);
    await gateway.crash();
    expect(await end).toBe("fetch failed");
    await expect(post("a2")).rejects.toThrow("fetch failed");
    await gateway.comeBack();
    expect(gateway.url).toBe(url);
    expect(gateway.unfinished).toBe(0);
    gateway.mode = { kind: "turns", turnMs: LONG_MS, retryAfterS: 3 };
    const turns: string[] = [];
    gateway.events.on("turn", ({ id }) => turns.push(id));
    expect([await statusOf("a1"), await statusOf("a2")]).toEqual([200, 202]);
    expect(turns).toEqual(["a1"]);
    // Each once, whatever the gateway forgot.
    expect(taken()).toEqual(["a1"]);
  });

  it("leaves the finished ones known where that is wanted", async () => {
    await gateway.close();
    await start({ remembers: "finished", mode: { kind: "turns", turnMs: 1, retryAfterS: 1 }, reply: () => undefined });
    await post("a1");
    await expect.poll(() => gateway.unfinished).toBe(0);
    gateway.mode = { kind: "turns", turnMs: LONG_MS, retryAfterS: 1 };
    await post("b1", "cidB");
    await gateway.crash();
    await gateway.comeBack();
    expect([await statusOf("a1"), await statusOf("b1", "cidB")]).toEqual([409, 200]);
  });
});
