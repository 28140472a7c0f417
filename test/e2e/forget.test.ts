import { afterEach, expect, it } from "vitest";
import { wordsOnDisk } from "../support/disk-search.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

/** `senderNick` of the sandbox's first person. */
const WORDS = ["绝密的问题", "收到:绝密的问题", "张三"];

it("BRIDGE_RETENTION_MESSAGES=0: after the reply nothing of it is on the disk, and a repetition is still known", async () => {
  const running = (bridge = await startBridge({ env: { BRIDGE_RETENTION_MESSAGES: "0" } }));
  const push = await running.dingtalk.say({ text: "绝密的问题" });
  await push.acked();
  await running.dingtalk.until("sent");
  const message = async (): Promise<unknown> => {
    const { queues } = (await (await running.api("GET", "/v1/status")).json()) as { queues?: unknown };
    return JSON.stringify(queues);
  };
  await expect.poll(message).not.toContain('"open":1');
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  expect(wordsOnDisk(running.dataDir, WORDS)).toEqual([]);
  // The row itself, with its key, is there.
  expect(wordsOnDisk(running.dataDir, [push.msgId ?? ""])).toEqual([`bridge.db: ${push.msgId}`]);
});

it("by default it is kept", async () => {
  const running = (bridge = await startBridge());
  await running.dingtalk.say({ text: "绝密的问题" });
  await running.dingtalk.until("sent");
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  expect(wordsOnDisk(running.dataDir, WORDS)).toEqual(WORDS.map((word) => `bridge.db: ${word}`));
});
