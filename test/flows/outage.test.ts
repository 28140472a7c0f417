import { afterEach, describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { Gate } from "../../src/queue/gate.ts";
import { conversationLane } from "../../src/queue/store.ts";
import { type TestBridge, APP, startBridge } from "../support/bridge.ts";
import { type ScriptedGateway, startScriptedGateway } from "../support/scripted-gateway.ts";
import { entry, holdTimers, openWithHandle, turn } from "../queue/helpers.ts";
import { delivered, eager, run, silent } from "../queue/runner.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const LANES = 500;
const MESSAGES = 5_000;

let bridge: TestBridge | undefined;
let scripted: ScriptedGateway | undefined;
afterEach(async () => {
  await bridge?.close();
  await scripted?.close();
  [bridge, scripted] = [undefined, undefined];
});

describe("a gateway that is away for two hours", { timeout: 60_000 }, () => {
  it("is asked by a few probes; then all 5,000 messages arrive, in order, with growing concurrency", async () => {
    holdTimers();
    const { store, db } = openWithHandle();
    db.exec("PRAGMA synchronous = OFF");
    const back = Date.now() + 2 * HOUR;
    const begun: { lane: string; probe: boolean }[] = [];
    const taken: string[] = [];
    let atPeer = 0;
    let successes = 0;
    const tooMany: string[] = [];
    const post = async (lane: string, id: string): Promise<Outcome> => {
      atPeer += 1;
      const isAway = Date.now() < back;
      if (isAway) begun.push({ lane, probe: gate.shutSince !== undefined });
      else if (successes > 0 && atPeer > 2 ** successes) tooMany.push(`${atPeer} after ${successes} successes`);
      await turn();
      atPeer -= 1;
      if (isAway) return { kind: "retry", class: "peer-away", code: "gateway_unreachable" };
      successes += 1;
      taken.push(id);
      return delivered;
    };
    const gate = new Gate({
      name: "gateway",
      failures: 5,
      cooldown: { baseMs: SECOND, capMs: 30 * SECOND },
      concurrency: 32,
      random: () => 1,
      logger: silent,
      onChange: (open) => {
        if (open) runner.retryNow();
      },
    });
    const backoff = { baseMs: SECOND, capMs: 30 * SECOND };
    const { runner, settled } = run(store, {
      concurrency: 32,
      retry: { ...eager, maxAttempts: 12, entry: backoff, peerAway: backoff, maxAgeMs: 12 * HOUR },
      gate: () => gate,
      work: ({ lane, id }) => gate.observe(() => post(lane, id), lane),
    });
    await runner.start();
    const begins = vi.spyOn(store, "begin");
    const lanes = Array.from({ length: MESSAGES }, (_, n) => conversationLane("main", `cid${n % LANES}`));
    for (const [n, lane] of lanes.entries()) {
      void store.append(entry(`${n}`, { lane, createdAt: Date.now() })).then(() => runner.changed(lane));
      if (n % 500 === 499) await turn();
    }
    for (let second = 0; second < 2 * 3_600; second += 1) {
      await vi.advanceTimersByTimeAsync(SECOND);
      for (let i = 0; i < 4; i += 1) await turn();
    }
    const probes = begun.filter(({ probe }) => probe);
    expect(probes.length).toBeGreaterThan(200);
    expect(probes.length).toBeLessThan(300);
    // Those under way when the gate was shut, and the probes: nothing else was so much as begun.
    expect(begun.length - probes.length).toBeLessThanOrEqual(32);
    expect(begins.mock.calls.length).toBeLessThanOrEqual(begun.length + 32);
    // Each lane is asked once before any is asked again.
    expect(new Set(probes.map(({ lane }) => lane)).size).toBe(probes.length);
    expect(taken).toEqual([]);

    for (let i = 0; i < 40_000 && taken.length < MESSAGES; i += 1) {
      if (i % 10 === 0) await vi.advanceTimersByTimeAsync(SECOND);
      await turn();
    }
    expect([taken.length, store.counts("inbox")]).toMatchObject([MESSAGES, { dead: 0 }]);
    expect(tooMany).toEqual([]);
    const numbers = taken.map((id) => Number(id.slice("main:".length)));
    for (let lane = 0; lane < LANES; lane += 1) {
      const order = numbers.filter((n) => n % LANES === lane);
      expect(order).toEqual(Array.from({ length: MESSAGES / LANES }, (_, n) => n * LANES + lane));
    }
    expect(settled.filter(({ settlement }) => settlement.state === "dead")).toEqual([]);
    gate.close();
  });
});

describe("one message that the gateway stumbles over", () => {
  it("ends after twelve attempts and stops nobody else", async () => {
    holdTimers();
    const { store } = openWithHandle();
    const changes: boolean[] = [];
    const gate = new Gate({
      name: "gateway",
      failures: 5,
      cooldown: { baseMs: SECOND, capMs: 30 * SECOND },
      concurrency: 32,
      logger: silent,
      onChange: (open) => changes.push(open),
    });
    const poisoned = conversationLane("main", "cidA");
    let attempts = 0;
    const post = ({ lane, id }: { lane: string; id: string }): Promise<Outcome> => {
      if (id !== "main:poison") return Promise.resolve(delivered);
      attempts += 1;
      expect(lane).toBe(poisoned);
      return Promise.resolve({ kind: "retry", class: "entry", code: "gateway_unavailable" });
    };
    const { runner } = run(store, {
      retry: { ...eager, maxAttempts: 12, entry: { baseMs: SECOND, capMs: 300 * SECOND }, maxAgeMs: 12 * HOUR },
      gate: () => gate,
      work: (one) => gate.observe(() => post(one), one.lane),
    });
    await runner.start();
    await store.append(entry("poison", { lane: poisoned, createdAt: Date.now() }));
    await store.append(entry("behind", { lane: poisoned, createdAt: Date.now() }));
    runner.changed(poisoned);
    for (let minute = 0; minute < 60; minute += 1) {
      const lane = conversationLane("main", `other${minute}`);
      await store.append(entry(`other${minute}`, { lane, createdAt: Date.now() }));
      runner.changed(lane);
      for (let i = 0; i < 10; i += 1) await turn();
      expect(store.find("inbox", `main:other${minute}`)?.state).toBe("delivered");
      for (let second = 0; second < 60; second += 1) {
        await vi.advanceTimersByTimeAsync(SECOND);
        for (let i = 0; i < 3; i += 1) await turn();
      }
    }
    expect([attempts, changes]).toEqual([12, []]);
    expect(store.find("inbox", "main:poison")).toMatchObject({ state: "dead", error: { code: "attempts_exhausted" } });
    expect(store.find("inbox", "main:behind")?.state).toBe("delivered");
    gate.close();
  });

  it("stops nobody else in the whole bridge either", async () => {
    scripted = await startScriptedGateway({ id: "main", appKey: APP.appKey }, (text) => ({
      status: text.startsWith("poison") ? 500 : 200,
    }));
    bridge = await startBridge({ env: { BRIDGE_GATEWAY_URL: scripted.url } });
    await (await bridge.dingtalk.say({ text: "poison" })).acked();
    const posts = (text: string): number => scripted?.posts.filter((post) => post.text === text).length ?? 0;
    await expect.poll(() => posts("poison"), { timeout: 15_000 }).toBeGreaterThan(4);
    await (await bridge.dingtalk.say({ text: "sound", from: "staff002" })).acked();
    await expect.poll(() => posts("sound"), { timeout: 900 }).toBe(1);
    expect(bridge.logs.text).not.toContain("peer is away");
  });
});

describe("a gateway that is set up wrongly", () => {
  it.each([
    ["no plugin", { kind: "answer", status: 404 } as const],
    ["the wrong token", { kind: "answer", status: 401 } as const],
    ["a page of HTML", { kind: "answer", status: 200, contentType: "text/html", body: "<!doctype html>" } as const],
  ])("%s: one probe at a time, each after the cooldown, and all at once when it is right", async (_name, mode) => {
    const everyMs = 60;
    bridge = await startBridge({
      gateway: { mode },
      overrides: { gatewayCooldown: { baseMs: everyMs * 10, capMs: everyMs * 10 } },
    });
    for (let n = 0; n < 12; n += 1) await (await bridge.dingtalk.say({ text: `${n}`, from: `staff${n % 6}` })).acked();
    await expect.poll(() => bridge?.gateway.received.length, { timeout: 10_000 }).toBeGreaterThan(7);
    const at = bridge.gateway.received.map((one) => one.at);
    // The first shuts the gate. A random tenth of the cooldown is the shortest.
    const gaps = at.slice(1).map((time, n) => time - (at[n] ?? 0));
    expect(Math.min(...gaps.slice(2))).toBeGreaterThan(everyMs - 5);
    expect(bridge.app.health().components["gateway"]?.status).toBeDefined();
    bridge.gateway.mode = { kind: "echo" };
    await expect.poll(() => bridge?.dingtalk.sent.length, { timeout: 10_000 }).toBe(12);
    expect(await (await bridge.api("GET", "/v1/dead-letters")).json()).toMatchObject({ deadLetters: [] });
  });

  it("is asked at once when the handshake finds it right, whatever the cooldown", async () => {
    bridge = await startBridge({
      overrides: {
        gatewayCooldown: { baseMs: 6_000_000, capMs: 6_000_000 },
        gatewayTimings: { wrongMs: 50, rightMs: 50 },
      },
    });
    const { gateway } = bridge;
    const state = (): string | undefined => bridge?.app.health().components["gateway"]?.status;
    gateway.mode = { kind: "answer", status: 404 };
    await (await bridge.dingtalk.say({ text: "warten" })).acked();
    await expect.poll(() => gateway.received.length).toBe(1);
    await gateway.crash();
    await expect.poll(state).toBe("degraded");
    gateway.mode = { kind: "echo" };
    await gateway.comeBack();
    expect(await bridge.dingtalk.until("sent")).toMatchObject({ text: "收到:warten" });
    expect(gateway.received).toHaveLength(2);
  });
});
