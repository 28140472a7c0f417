import { afterEach, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { examine, surroundings } from "./doctor-support.ts";
import { envOf } from "./support.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

/** A bridge that runs, and the environment in which the doctor finds it. */
async function running(options: Parameters<typeof startBridge>[0] = {}) {
  bridge = await startBridge(options);
  const { dingtalk, gateway } = bridge;
  const env = envOf(bridge, {
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_ALERTS_TO: "user:staff001",
    BRIDGE_DISK_MIN_FREE_MB: "1",
    HOME: bridge.dataDir,
    ...options?.env,
  });
  return { bridge, env: { ...env, BRIDGE_PORT: new URL(bridge.url).port } };
}

it("beside a running bridge nothing is connected a second time: the bridge is asked", async () => {
  const { bridge, env } = await running();
  const { ok, of, findings } = await examine(env);
  expect(ok).toBe(true);
  expect(of("stream")).toEqual(["ok ok"]);
  expect(findings.find(({ check }) => check === "stream")?.text).toBe("the running bridge is connected");
  expect(of("bridge")).toEqual(["note bridge_version"]);
  expect(bridge.dingtalk.allConnections).toHaveLength(1);
  expect([...of("credentials"), ...of("robot"), ...of("permission"), ...of("app_key")]).toEqual(Array(6).fill("ok ok"));
});

it("tells whether the gateway's side has found its way here", async () => {
  const { bridge, env } = await running();
  expect((await examine(env)).of("gateway_calls")).toEqual(["note gateway_silent"]);
  await bridge.api("GET", "/v1/status", undefined, { "x-bridge-contract": "1" });
  expect((await examine(env)).of("gateway_calls")).toEqual(["ok ok"]);
});

it("tells what the bridge has found: dead letters, quota, its connection, its parts", async () => {
  const { bridge, env } = await running({
    env: { BRIDGE_QUOTA_CALLS: "1" },
    overrides: { silence: { afterMs: 0, everyMs: 10 } },
  });
  const body = { to: "user:nobody", content: { type: "text", text: "?" } };
  await bridge.api("POST", "/v1/messages", body, { prefer: "wait=5" });
  await expect.poll(async () => (await examine(env)).of("stream")).toEqual(["warning no_message_yet"]);
  const { of } = await examine(env);
  expect(of("dead_letters")).toEqual(["warning dead_letters"]);
  expect(of("quota")).toContain("warning quota_high");
  bridge.dingtalk.faults.exhaust("calls");
  await bridge.api("POST", "/v1/messages", { ...body, to: "user:staff001" }, { prefer: "wait=5" });
  expect((await examine(env)).of("quota")).toContain("error quota_exhausted");
});

it("a connection that DingTalk refuses is the running bridge's word", async () => {
  const { env } = await running({ env: { DINGTALK_APP_SECRET: "another-secret" }, unconnected: true });
  const wrong = { ...env, DINGTALK_APP_SECRET: "another-secret" };
  await expect.poll(async () => (await examine(wrong)).of("stream")).toEqual(["error stream_bad_credentials"]);
});

it("a bridge with other settings is named, and no second connection is risked", async () => {
  const { bridge, env } = await running();
  const { of } = await examine({ ...env, BRIDGE_TOKEN: "a-shared-token-of-ours" });
  expect(of("bridge")).toContain("warning bridge_other");
  expect(of("stream")).toEqual(["note skipped"]);
  expect(bridge.dingtalk.allConnections).toHaveLength(1);
});

it("a bridge that has the data directory and does not answer: no second connection is risked", async () => {
  const { bridge, env } = await running();
  const { of } = await examine({ ...env, BRIDGE_PORT: "0" });
  expect(of("bridge")).toEqual(["warning bridge_unreachable"]);
  expect(of("stream")).toEqual(["note skipped"]);
  expect(bridge.dingtalk.allConnections).toHaveLength(1);
  // Looking has not taken the directory from it.
  await bridge.restart();
});

it("--send goes through the running bridge, and tells what became of it", async () => {
  const { bridge, env } = await running();
  const { of, findings } = await examine(env, "--send", "user:staff001");
  expect(of("send")).toEqual(["ok ok"]);
  expect(findings.find(({ check }) => check === "send")?.text).toContain("open-api");
  expect(bridge.dingtalk.sent).toMatchObject([{ route: "oto", userIds: ["staff001"] }]);
  const nobody = await examine(env, "--send", "user:nobody");
  expect(nobody.status).toBe(1);
  expect(nobody.of("send")).toEqual(["error recipient_unknown"]);
});

it("--send without a bridge goes straight to DingTalk", async () => {
  const { env, dingtalk } = await surroundings();
  expect((await examine(env, "--send", "user:staff002")).of("send")).toEqual(["ok ok"]);
  expect(dingtalk.sent).toMatchObject([{ userIds: ["staff002"], text: expect.stringContaining("测试消息") }]);
  expect((await examine(env, "--send", "user:nobody")).of("send")).toEqual(["error recipient_unknown"]);
  dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "permissionDenied" });
  expect((await examine(env, "--send", "user:staff002")).of("send")).toEqual(["error dingtalk_permission_missing"]);
});
