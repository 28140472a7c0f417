import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { storedTraces } from "../../src/app.ts";
import { deriveToken } from "../../src/domain/account.ts";
import { APP, TOKEN, type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND, SECOND_TOKEN } from "../support/two-accounts.ts";

const NEW_SECRET = "test-secret-after-rotation";
const BOTH = { accounts: { main: APP, support: SECOND } };

/** A bridge whose settings stand in a file, which `write` changes. */
async function configured(
  settings: object,
  options: Parameters<typeof startBridge>[0] = {},
): Promise<TestBridge & { write: (settings: object | string) => void }> {
  const directory = mkdtempSync(join(tmpdir(), "bridge-reload-"));
  const file = join(directory, "bridge.json5");
  const write = (content: object | string): void =>
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  write(settings);
  const bridge = await startBridge({
    ...options,
    dingtalk: { apps: [APP, SECOND], ...options.dingtalk },
    gateway: {
      accounts: [
        { id: "main", appKey: APP.appKey, token: TOKEN },
        { id: "support", appKey: SECOND.appKey, token: deriveToken(SECOND.appKey, SECOND.appSecret) },
      ],
      ...options.gateway,
    },
    env: { BRIDGE_CONFIG: file, DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "", ...options.env },
    unconnected: true,
  });
  onTestFinished(async () => {
    await bridge.close();
    rmSync(directory, { recursive: true, force: true });
  });
  await expect.poll(() => bridge.app.health().ready).toBe(true);
  return Object.assign(bridge, { write });
}

const connected = (bridge: TestBridge, app: { appKey: string }): number =>
  bridge.dingtalk.connections.filter(({ app: owner }) => owner === app.appKey).length;
const sentTo = (bridge: TestBridge, app: { appKey: string }): (string | undefined)[] =>
  bridge.dingtalk.sent.filter((sent) => sent.app === app.appKey).map(({ text }) => text);
const reply = (to: string, text: string) => ({ to, content: { type: "text", text } });

it("serves an account that was added: connection, both ways, its token, the handshake", async () => {
  const bridge = await configured({ accounts: { main: APP } });
  expect((await bridge.api("GET", "/v1/status", undefined, SECOND_TOKEN)).status).toBe(401);
  bridge.write(BOTH);
  expect((await bridge.reload()).accounts).toMatchObject({ added: ["support"], removed: [], rekeyed: [] });
  await expect.poll(() => connected(bridge, SECOND)).toBe(1);
  await bridge.dingtalk.say({ app: SECOND.appKey, text: "为新账号" });
  await expect.poll(() => sentTo(bridge, SECOND)).toHaveLength(1);
  expect((await bridge.api("GET", "/v1/status", undefined, SECOND_TOKEN)).status).toBe(200);
  await expect.poll(() => bridge.app.health().components["gateway"]?.status).toBe("ok");
  expect(bridge.app.health().components["stream:support"]).toEqual({ status: "ok" });
  expect(bridge.dingtalk.allConnections.filter(({ app }) => app === APP.appKey)).toHaveLength(1);
});

it("pauses a removed account: acks finished, messages kept and shown, nothing tried, and goes on when it is back", async () => {
  const bridge = await configured(BOTH, { gateway: { mode: { kind: "answer", status: 503 } } });
  await expect.poll(() => bridge.dingtalk.connections.length).toBe(2);
  const { msgId = "" } = await bridge.dingtalk.say({ app: SECOND.appKey, text: "稍等" });
  await expect.poll(() => bridge.gateway.received.length).toBeGreaterThan(0);
  bridge.write({ accounts: { main: APP, support: { ...SECOND, enabled: false } } });
  expect((await bridge.reload()).accounts).toMatchObject({ removed: ["support"] });
  expect(connected(bridge, SECOND)).toBe(0);
  expect(bridge.dingtalk.allConnections.find(({ app }) => app === SECOND.appKey)).toMatchObject({ closeCode: 1000 });
  // Its token speaks for nobody now; the other account's does not see it.
  expect((await bridge.api("GET", "/v1/status", undefined, SECOND_TOKEN)).status).toBe(401);
  const paused = { status: "degraded", code: "account_paused", detail: expect.stringContaining("1 from DingTalk") };
  await expect.poll(() => bridge.app.health().components["account:support"]).toMatchObject(paused);
  const [trace] =
    storedTraces({ dataDir: bridge.dataDir }, { id: msgId, last: 1, withText: false, served: ["main"] }) ?? [];
  expect(trace?.steps.at(-1)).toMatchObject({ step: "waits", detail: expect.stringContaining("account_paused") });

  bridge.gateway.mode = { kind: "echo" };
  await bridge.dingtalk.say({ app: APP.appKey, text: "照常" });
  await expect.poll(() => sentTo(bridge, APP)).toHaveLength(1);
  expect(bridge.gateway.taken.map(({ account }) => account)).toEqual(["main"]);

  bridge.write(BOTH);
  await bridge.reload();
  await expect.poll(() => sentTo(bridge, SECOND)).toHaveLength(1);
  expect(bridge.app.health().components["account:support"]).toBeUndefined();
});

it("shows to BRIDGE_TOKEN what waits for an account that is gone, and takes nothing new for it", async () => {
  const token = "a-token-that-all-accounts-share";
  const all = { authorization: `Bearer ${token}` };
  const bridge = await configured(
    { token, ...BOTH },
    { gateway: { accounts: [], checkToken: false, mode: { kind: "silent" } } },
  );
  await expect.poll(() => bridge.dingtalk.connections.length).toBe(2);
  bridge.dingtalk.faults.api("*", { kind: "error", error: "unavailable", app: SECOND.appKey });
  const body = { account: "support", ...reply("user:staff001", "为你") };
  expect((await bridge.api("POST", "/v1/messages", body, all)).status).toBe(202);
  bridge.write({ token, accounts: { main: APP } });
  await bridge.reload();
  const status = async () => (await bridge.api("GET", "/v1/status", undefined, all)).json();
  await expect.poll(status).toMatchObject({
    accounts: [{ name: "main" }, { name: "support", state: "paused", code: "account_paused" }],
  });
  const refused = await bridge.api("POST", "/v1/messages", body, all);
  expect([refused.status, await refused.json()]).toMatchObject([422, { code: "account_unknown" }]);
});

it("takes another App Secret without a moment without a connection, and the token that is derived from it", async () => {
  const bridge = await configured({ accounts: { main: APP } }, { overrides: { streamTimings: { drainMs: 200 } } });
  bridge.dingtalk.rekey(NEW_SECRET);
  bridge.write({ accounts: { main: { ...APP, appSecret: NEW_SECRET } } });
  const closed = bridge.dingtalk.waitFor("closed", () => true, 15_000);
  expect((await bridge.reload()).accounts).toMatchObject({ rekeyed: ["main"], replaced: [] });
  await expect.poll(() => bridge.dingtalk.allConnections.length).toBe(2);
  // The old one serves until the new one does.
  const [old, fresh] = bridge.dingtalk.allConnections;
  expect(old?.closedAt ?? Infinity).toBeGreaterThan(fresh?.openedAt ?? Infinity);
  expect((await bridge.api("GET", "/v1/status")).status).toBe(401);
  const derived = { authorization: `Bearer ${deriveToken(APP.appKey, NEW_SECRET)}` };
  expect((await bridge.api("GET", "/v1/status", undefined, derived)).status).toBe(200);
  await closed;
  expect(connected(bridge, APP)).toBe(1);
  expect(bridge.app.health().components["stream:main"]).toEqual({ status: "ok" });
});

it("keeps the connection it has when the new App Secret is wrong, and says so", async () => {
  const bridge = await configured({ accounts: { main: APP } });
  bridge.write({ accounts: { main: { ...APP, appSecret: NEW_SECRET } } });
  await bridge.reload();
  await expect
    .poll(() => bridge.app.health().components["stream:main"])
    .toMatchObject({ status: "degraded", code: "stream_bad_credentials" });
  expect(connected(bridge, APP)).toBe(1);
  await (await bridge.dingtalk.say({ text: "还在吗" })).acked();
  bridge.write({ accounts: { main: APP } });
  await bridge.reload();
  await expect.poll(() => bridge.app.health().components["stream:main"]).toEqual({ status: "ok" });
});

it("serves another app under the same name", async () => {
  const bridge = await configured({ accounts: { main: APP } });
  bridge.write({ accounts: { main: SECOND } });
  expect((await bridge.reload()).accounts).toMatchObject({ replaced: ["main"] });
  await expect.poll(() => connected(bridge, SECOND)).toBe(1);
  expect(connected(bridge, APP)).toBe(0);
});

it("applies limits at once, and names what needs a restart", async () => {
  const settings = { accounts: { main: APP } };
  const bridge = await configured(settings, { gateway: { mode: { kind: "silent" } } });
  bridge.write({ ...settings, limits: { openPerLane: 1, perPersonPerDay: 1 }, language: "en", log: { level: "warn" } });
  const report = await bridge.reload();
  expect(report).toMatchObject({
    limits: ["limits.perPersonPerDay", "limits.openPerLane"],
    restart: ["language", "log.level"],
  });
  expect(bridge.logs.lines).toContainEqual(expect.objectContaining({ msg: "restart needed: language, log.level" }));
  await bridge.dingtalk.say({ text: "一" });
  await bridge.dingtalk.say({ text: "二" });
  await expect.poll(() => bridge.dingtalk.acks.length).toBe(2);
  await expect.poll(() => bridge.gateway.taken.length).toBe(1);
  bridge.write(settings);
  expect((await bridge.reload()).limits).toEqual(["limits.perPersonPerDay", "limits.openPerLane"]);
  await bridge.dingtalk.say({ text: "三" });
  await expect.poll(() => bridge.gateway.taken.length).toBe(2);
});
