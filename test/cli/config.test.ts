import { mkdtempSync, rmSync, writeFileSync, mkdirSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { SettingReport } from "../../src/app.ts";
import { APP } from "../support/bridge.ts";
import { cli } from "./support.ts";

const ACCOUNT = { DINGTALK_APP_KEY: APP.appKey, DINGTALK_APP_SECRET: APP.appSecret };
const SECRETS = [APP.appSecret, "secret-of-the-sales-robot", "a-shared-token-of-ours", "proxy-password"];

const places: string[] = [];
afterEach(() => {
  for (const place of places.splice(0)) rmSync(place, { recursive: true, force: true });
});

/** An empty home directory. */
function home(): string {
  const place = mkdtempSync(join(tmpdir(), "bridge-config-"));
  places.push(place);
  return place;
}

async function settingsOf(args: string[], env: Record<string, string>): Promise<Map<string, SettingReport>> {
  const { stdout } = await cli(["config", "--json", ...args], { env });
  const { settings } = JSON.parse(stdout) as { settings: SettingReport[] };
  return new Map(settings.map((one) => [one.path, one]));
}

it("tells of every setting where it comes from, and no secret", async () => {
  const dir = home();
  const file = join(dir, "bridge.json5");
  writeFileSync(
    file,
    `{ language: "en", gateway: { concurrency: 3, timeoutMs: "9s" }, limits: { exempt: ["staff001"] },
       accounts: { sales: { appKey: "dingsaleskey00000001", appSecret: "${SECRETS[1]}", reply: { format: "text" } } } }`,
  );
  const env = {
    ...ACCOUNT,
    HOME: dir,
    BRIDGE_CONFIG: file,
    BRIDGE_GATEWAY_TIMEOUT: "5s",
    BRIDGE_PORT: "1111",
    BRIDGE_TOKEN: "a-shared-token-of-ours",
    HTTPS_PROXY: "http://someone:proxy-password@proxy.example:3128",
  };
  const args = ["--port", "2222"];
  const settings = await settingsOf(args, env);
  const rows = {
    "accounts.main.appSecret": ["(set, not shown)", "environment", "DINGTALK_APP_SECRET"],
    "accounts.main.robotCode": [APP.appKey, "default", "default"],
    "accounts.sales.appKey": ["dingsaleskey00000001", "file", `accounts.sales.appKey (in ${file})`],
    "accounts.sales.appSecret": ["(set, not shown)", "file", `accounts.sales.appSecret (in ${file})`],
    "accounts.sales.reply.format": ["text", "file", `accounts.sales.reply.format (in ${file})`],
    token: ["(set, not shown)", "environment", "BRIDGE_TOKEN"],
    "proxy.https": ["(set, not shown)", "environment", "HTTPS_PROXY"],
    language: ["en", "file", `language (in ${file})`],
    "gateway.timeoutMs": [5000, "environment", "BRIDGE_GATEWAY_TIMEOUT"],
    "gateway.concurrency": [3, "file", `gateway.concurrency (in ${file})`],
    "server.port": [2222, "flag", "--port"],
    "server.publicUrl": [null, "default", "default"],
    "limits.exempt": [["staff001"], "file", `limits.exempt (in ${file})`],
    "delivery.concurrency": [64, "default", "default"],
  };
  for (const [path, [value, kind, name]] of Object.entries(rows)) {
    expect([path, settings.get(path)]).toEqual([path, expect.objectContaining({ value, origin: { kind, name } })]);
  }
  const text = await cli(["config", ...args], { env });
  expect(text.status).toBe(0);
  expect(text.stdout).toMatch(/^gateway\.timeoutMs +5000 +environment BRIDGE_GATEWAY_TIMEOUT$/m);
  expect(text.stdout).toMatch(/^delivery\.concurrency +64 +default$/m);
  const changed = await cli(["config", "--changed", ...args], { env });
  expect(changed.stdout).not.toContain("delivery.concurrency");
  expect(changed.stdout).toContain("limits.exempt");
  for (const secret of SECRETS) expect(text.stdout + JSON.stringify([...settings])).not.toContain(secret);
  expect(readdirSync(dir)).toEqual(["bridge.json5"]);
});

it("names OpenClaw's file, and variables that override a part of it", async () => {
  const dir = home();
  mkdirSync(join(dir, ".openclaw"));
  const file = join(dir, ".openclaw", "openclaw.json");
  writeFileSync(
    file,
    JSON.stringify({ channels: { dingtalk: { clientId: APP.appKey, clientSecret: APP.appSecret } } }),
  );
  const settings = await settingsOf([], { HOME: dir, DINGTALK_ROBOT_CODE: "dingrobot" });
  const origin = { kind: "openclaw", name: `channels.dingtalk.clientId (in ${file})` };
  expect(settings.get("accounts.main.appKey")).toMatchObject({ value: APP.appKey, origin });
  expect(settings.get("accounts.main.robotCode")).toMatchObject({
    value: "dingrobot",
    origin: { kind: "environment", name: "DINGTALK_ROBOT_CODE" },
  });
});

it("--check says whether the bridge could start", async () => {
  const fine = { ...ACCOUNT, HOME: home(), BRIDGE_GATEWAY_URI: "http://127.0.0.1:1" };
  const good = await cli(["config", "--check"], { env: fine });
  expect(good).toMatchObject({ status: 0, stderr: "" });
  expect(good.stdout).toBe(
    "The settings can be used. Accounts: main.\nnote: BRIDGE_GATEWAY_URI is not a setting and has no effect; BRIDGE_GATEWAY_URL is one\n",
  );
  const wrong = { HOME: home(), BRIDGE_PORT: "99999", LOG_LEVEL: "loud", BRIDGE_TOKEN: "xy7" };
  const bad = await cli(["config", "--check"], { env: wrong });
  expect(bad).toMatchObject({ status: 78, stdout: "" });
  const names = ["DINGTALK_APP_KEY", "BRIDGE_PORT", "LOG_LEVEL", "BRIDGE_TOKEN"];
  for (const name of names) expect(bad.stderr).toContain(name);
  expect(bad.stderr).not.toContain("xy7");
  const json = await cli(["config", "--check", "--json"], { env: wrong });
  expect(json).toMatchObject({ status: 78, stderr: "" });
  const { ok, problems } = JSON.parse(json.stdout) as { ok: boolean; problems: { setting: string; mend: string }[] };
  expect(ok).toBe(false);
  expect(problems.map(({ mend }) => mend.length > 0)).toEqual(names.map(() => true));
});
