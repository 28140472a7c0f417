import { afterEach, describe, expect, it } from "vitest";
import type { Envelope } from "../../src/domain/envelope.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge;
afterEach(() => bridge.close());

const textOf = (envelope: Envelope): string => (envelope.type === "message" ? envelope.message.text : "");
const taken = (of = ""): string[] => bridge.gateway.taken.map(textOf).filter((text) => text.startsWith(of));

async function say(text: string, options: { from?: string; group?: string } = {}): Promise<void> {
  await (await bridge.dingtalk.say({ text, ...options })).acked();
}

describe("messages that the gateway holds", () => {
  it("are all begun in order, though it dies and forgets its queue, twice", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "turns", turnMs: 60, retryAfterS: 1 } } });
    const { gateway } = bridge;
    const refused = (): number => bridge.logs.lines.filter(({ code }) => code === "gateway_unreachable").length;
    for (let n = 1; n <= 9; n += 1) {
      const dies = n === 4 || n === 8;
      const before = refused();
      if (dies) await gateway.crash();
      await say(`a${n}`);
      await say(`b${n}`, { from: "staff002", group: "测试群" });
      if (!dies) continue;
      // One that is back before anybody has noticed may be offered a later message between two earlier ones: it took those before it
      // died, and nothing in the contract says that it has forgotten them.
      await expect.poll(refused).toBeGreaterThan(before);
      await gateway.comeBack();
    }
    await expect.poll(() => bridge.gateway.taken.length, { timeout: 15_000 }).toBe(18);
    for (const of of ["a", "b"]) expect(taken(of)).toEqual(Array.from({ length: 9 }, (_, n) => `${of}${n + 1}`));
    expect(await (await bridge.api("GET", "/v1/dead-letters")).json()).toMatchObject({ deadLetters: [] });
  });

  it("are at most five of a conversation and fifteen direct ones", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "held", times: 1_000_000, retryAfterS: 600 } } });
    const { gateway, dingtalk } = bridge;
    for (let n = 1; n <= 7; n += 1) await say(`g${n}`, { group: "测试群" });
    const asked = (of: string): string[] => [
      ...new Set(gateway.received.map(({ envelope }) => textOf(envelope)).filter((text) => text.startsWith(of))),
    ];
    await expect.poll(() => asked("g")).toEqual(["g1", "g2", "g3", "g4", "g5"]);
    for (let n = 1; n <= 6; n += 1) {
      await Promise.all(Array.from({ length: 5 }, (_, person) => say(`d${person}.${n}`, { from: `staff00${person}` })));
    }
    await expect.poll(() => asked("d").length).toBe(15);
    // A stop word goes through all the same, and makes room.
    gateway.mode = { kind: "echo" };
    await say("/stop", { from: "staff000" });
    await expect.poll(() => dingtalk.sent.map(({ text }) => text)).toContain("收到:/stop");
    await expect.poll(() => asked("d").length).toBeGreaterThan(15);
  });

  it("are rewound after a restart of the bridge, and end as they came", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "held", times: 1_000_000, retryAfterS: 1 } } });
    for (let n = 1; n <= 7; n += 1) await say(`${n}`);
    await expect.poll(() => new Set(bridge.gateway.received.map(({ envelope }) => envelope.id)).size).toBe(5);
    await bridge.restart();
    bridge.gateway.mode = { kind: "silent" };
    await expect.poll(() => taken(), { timeout: 10_000 }).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  });
});
