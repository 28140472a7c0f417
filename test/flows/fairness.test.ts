import { afterEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge;
afterEach(() => bridge.close());

const text = (value: string) => ({ type: "text", text: value });
const put = (to: string, value: string): Promise<Response> =>
  bridge.api("POST", "/v1/messages", { to, content: text(value) });
const texts = (): string[] => bridge.dingtalk.sent.map((one) => one.text);

describe("one conversation's backlog", () => {
  it("of a thousand replies puts one before another conversation's reply, not a thousand", async () => {
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      env: { BRIDGE_LIMITS_CONVERSATION_PER_SECOND: "100" },
    });
    for (let n = 0; n < 1_000; n += 50) {
      await Promise.all(Array.from({ length: 50 }, () => put("user:staff001", "backlog")));
    }
    const at = texts().length;
    await put("user:staff002", "quick");
    await expect.poll(texts, { timeout: 5_000 }).toContain("quick");
    // What is waiting for the limiter already, and one turn.
    expect(texts().indexOf("quick") - at).toBeLessThanOrEqual(21);
  });

  it("of many, waiting for one API, keeps nobody from another API", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: { BRIDGE_LIMITS_API_PER_SECOND: "2" } });
    await (await bridge.dingtalk.say({ text: "hi" })).acked();
    for (let n = 0; n < 150; n += 50) {
      const people = Array.from({ length: 50 }, (_, i) => `staff${1_000 + n + i}`);
      for (const staffId of people) bridge.dingtalk.addUser({ staffId, name: staffId });
      await Promise.all(people.map((staffId) => put(`user:${staffId}`, "backlog")));
    }
    const before = performance.now();
    await put("user:staff001", "by webhook");
    await expect.poll(texts, { timeout: 10_000, interval: 5 }).toContain("by webhook");
    const ahead = bridge.dingtalk.sent.filter(({ at }) => at >= performance.timeOrigin + before);
    expect(ahead.findIndex(({ route }) => route === "webhook")).toBeLessThanOrEqual(4);
  });
});
