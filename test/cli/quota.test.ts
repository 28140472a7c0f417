import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../../src/app.ts";
import { type QuotaAnswer, quotaLines } from "../../src/cli/quota.ts";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

function configOf(dataDir: string, env: Record<string, string> = {}): ReturnType<typeof loadConfig>["config"] {
  const account = { DINGTALK_APP_KEY: APP.appKey, DINGTALK_APP_SECRET: APP.appSecret };
  return loadConfig({ env: { ...account, BRIDGE_DATA_DIR: dataDir, BRIDGE_PORT: "0", ...env } }).config;
}

async function ask(config: ReturnType<typeof configOf>): Promise<QuotaAnswer> {
  return JSON.parse(await quotaLines(config, { json: true, now: Date.now() })) as QuotaAnswer;
}

async function used(): Promise<TestBridge> {
  bridge = await startBridge();
  await (await bridge.dingtalk.say({ text: "hi" })).acked();
  await bridge.dingtalk.until("sent");
  await expect
    .poll(async () => (await (await bridge?.api("GET", "/v1/status"))?.text())?.includes('"webhook":1'))
    .toBe(true);
  return bridge;
}

it("asks the running bridge, with the account's own token", async () => {
  const { dataDir, url } = await used();
  const answer = await ask(configOf(dataDir, { BRIDGE_PORT: new URL(url).port }));
  expect(answer).toMatchObject({
    source: "bridge",
    from: url,
    report: {
      plan: "standard",
      organisations: [{ accounts: ["main"], units: { byClass: { inbound: 1, webhook: 1 } } }],
    },
  });
});

it("reads the store when no bridge answers, of a running bridge and of one that is gone", async () => {
  const { dataDir, dingtalk } = await used();
  const expected = (from: string): object => ({
    source: "store",
    from,
    report: { organisations: [{ organisation: expect.stringMatching(/^ding/), units: { used: 2 } }] },
  });
  expect(await ask(configOf(dataDir))).toMatchObject(expected(dataDir));
  const copy = mkdtempSync(join(tmpdir(), "bridge-quota-"));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(dataDir, copy, { recursive: true });
  await dingtalk.close();
  expect(await ask(configOf(copy, { BRIDGE_PORT: new URL(dingtalk.url).port }))).toMatchObject(expected(copy));
});

it("is told by something else on the port that it is no bridge", async () => {
  const { dataDir, gateway } = await used();
  const answer = await ask(configOf(dataDir, { BRIDGE_PORT: new URL(gateway.url).port }));
  expect(answer).toMatchObject({ source: "store", report: { organisations: [{ units: { used: 2 } }] } });
});

it("shows use, what DingTalk refuses, and what other plans would carry", async () => {
  const running = await used();
  const { dataDir, dingtalk } = running;
  dingtalk.faults.exhaust("calls");
  const body = { to: "user:staff002", content: { type: "text", text: "?" } };
  expect(await (await running.api("POST", "/v1/messages", body, { prefer: "wait=10" })).json()).toMatchObject({
    status: "dead",
  });
  const config = configOf(dataDir, { BRIDGE_QUOTA_UNITS: "4000" });
  const text = await quotaLines(config, { json: false, now: Date.UTC(2030, 10, 5) });
  // Another month: the use of this one does not show.
  expect(text).toContain("Quota of 2030-11 (plan standard)");
  expect(text).not.toContain("REFUSED");
  const now = await quotaLines(config, { json: false, now: Date.now() });
  expect(now).toMatch(/Webhook & Stream units +2 +4,000 +0\.1/);
  expect(now).toMatch(/^ {4}inbound +1$/m);
  expect(now).toMatch(/REFUSED by DingTalk since \S+Z, tried again after \S+Z: /);
  expect(now).toContain("at least this");
  expect(text).toMatch(/^ {2}configured 50 +3,000 units +fits +1,500 calls +fits +fits$/m);
  expect(text).toMatch(/^ {2}standard 100 +6,000 units +too much +3,000 calls +fits +too much$/m);
  expect(text).toMatch(/^ {2}professional carries at most 1,458 replies a day\.$/m);
});

it("says so when nothing was ever counted", async () => {
  const text = await quotaLines(configOf("/nonexistent/data"), { json: false, now: Date.now() });
  expect(text).toContain("Nothing was counted yet in /nonexistent/data");
  expect(text).toContain("standard carries at most");
});

it("is a command of the program, for people and for programs", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "bridge-quota-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const env = { DINGTALK_APP_KEY: APP.appKey, DINGTALK_APP_SECRET: APP.appSecret, BRIDGE_PORT: "0" };
  const { stdout } = await promisify(execFile)(process.execPath, [main, "quota", "--json", "--data-dir", dataDir], {
    env: { HOME: dataDir, ...env },
  });
  expect(JSON.parse(stdout)).toMatchObject({ source: "store", from: dataDir, report: null });
  expect(readdirSync(dataDir)).toEqual([]);
});
