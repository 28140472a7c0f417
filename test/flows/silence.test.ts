import { afterEach, expect, it } from "vitest";
import { SilenceWatch } from "../../src/flows/silence.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { entry, openStore } from "../queue/helpers.ts";
import { LogCapture, type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const SOON = { silence: { afterMs: 0, everyMs: 10 } };

async function health(): Promise<{ status: string; components: Record<string, object>; mends: string[] }> {
  return (await bridge?.api("GET", "/healthz"))?.json() as ReturnType<typeof health>;
}
const lines = (): string[] =>
  bridge?.logs.lines.flatMap(({ msg }) => (String(msg).startsWith("no message yet") ? [String(msg)] : [])) ?? [];

it("an account that is connected and never had a message gets a remark, no fault, and one line", async () => {
  bridge = await startBridge({ overrides: SOON });
  await expect
    .poll(async () => (await health()).components["stream:main"])
    .toMatchObject({ status: "ok", code: "no_message_yet", mend: expect.stringContaining("Stream 模式") });
  const { status, mends } = await health();
  expect(status).toBe("ok");
  expect(mends).toEqual([expect.stringContaining("应用可用范围")]);
  expect(lines()).toEqual([expect.stringContaining("check the robot's message mode, published version, visibility")]);
  await (await bridge.dingtalk.say({ text: "hi" })).acked();
  await expect.poll(async () => (await health()).components["stream:main"]).toEqual({ status: "ok" });
  expect(bridge.logs.text).toContain("the first message has come");
});

it("speaks of those only that never had a message, in this life or an earlier one", async () => {
  const store = openStore();
  const logs = new LogCapture();
  const session = { hasConnectedOrFailedOnce: () => true, downSince: () => undefined };
  let now = 0;
  const watch = new SilenceWatch({
    accounts: () => ["main", "support"].map((name) => ({ name, session })),
    store,
    clock: { now: () => now, monotonic: () => now },
    logger: createLogger({ level: "info", version: "0", destination: logs }),
  });
  const seen = { account: "main", id: "cidA", kind: "group", title: undefined, staffId: undefined } as const;
  await store.append(entry("a"), { ...seen, webhook: undefined, lastSeen: 1 });
  watch.look();
  now = 599_000;
  watch.look();
  expect(logs.lines).toEqual([]);
  now = 600_000;
  watch.look();
  watch.look();
  expect(logs.lines).toMatchObject([{ account: "support", msg: expect.stringContaining("for more than 10 minutes") }]);
  expect(watch.remark("main")).toBeUndefined();
  expect(watch.remark("support")).toMatchObject({ code: "no_message_yet" });
});

it("one that is not connected is not called silent", async () => {
  bridge = await startBridge({ overrides: SOON, env: { DINGTALK_APP_SECRET: "another-secret" }, unconnected: true });
  await expect.poll(() => bridge?.logs.text).toContain("stream not connected");
  await expect
    .poll(async () => (await health()).components["stream:main"])
    .toMatchObject({ status: "down", code: "stream_bad_credentials" });
  expect(lines()).toEqual([]);
});
