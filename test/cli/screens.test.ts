import { afterEach, describe, expect, it } from "vitest";
import { APP, TOKEN, type TestBridge, startBridge } from "../support/bridge.ts";
import { surroundings } from "./doctor-support.ts";
import { cli, envOf } from "./support.ts";

/*
 * What somebody reads for each thing that can be missing: in the log of `start`, and from the doctor. Never a stack trace, always what
 * to do next.
 */

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

type Options = NonNullable<Parameters<typeof startBridge>[0]>;

const LEVELS: Record<number, string> = { 40: "warn", 50: "error", 60: "fatal" };
const neutral = (text: string): string =>
  text.replaceAll(/127\.0\.0\.1:\d+/g, "HOST").replaceAll(/\(request [\w-]+\)/g, "(request ID)");
const word = (value: unknown): string => (typeof value === "string" ? value : "");

/** Warnings and errors of a start, until one says `until`: message, reason and mend. */
async function logOf(options: Options, until: string): Promise<string> {
  bridge = await startBridge({ unconnected: true, ...options });
  await expect.poll(() => bridge?.logs.text).toContain(until);
  const lines = bridge.logs.lines.flatMap(({ level, msg, reason, mend }) => {
    const name = LEVELS[Number(level)];
    const said = [word(reason), word(mend)].filter((text) => text !== "" && !word(msg).includes(text));
    return name === undefined ? [] : [neutral([`${name}: ${word(msg)}`, ...said].join("\n  "))];
  });
  expect(bridge.logs.text).not.toMatch(/"stack"|\\n {4}at /);
  return [...new Set(lines)].join("\n");
}

/** What the doctor prints that is neither right nor left out, and its last lines. */
async function doctorOf(env: Record<string, string>): Promise<string> {
  const { stdout, stderr } = await cli(["doctor"], { env });
  expect(stdout + stderr).not.toMatch(/^ {4}at |node:internal/m);
  const lines = stdout.split("\n");
  const wrong = lines.filter(
    (line, at) => /^(WARNING|ERROR)/.test(line) || /^(WARNING|ERROR)/.test(lines[at - 1] ?? ""),
  );
  const shown = wrong.filter((line) => /^(WARNING|ERROR| )/.test(line)).map((line) => line.replaceAll(/ {2,}/g, "  "));
  return neutral([...shown, ...lines.slice(lines.lastIndexOf("", -3) + 1).filter((line) => line !== "")].join("\n"));
}

describe("no key", () => {
  it("start", async () => {
    const { status, stderr } = await cli(["start"], { env: { HOME: "/nonexistent" } });
    expect(status).toBe(78);
    expect(stderr).toMatchInlineSnapshot(`
      "dingtalk-bridge: 1 setting is missing or wrong:
      - DINGTALK_APP_KEY and DINGTALK_APP_SECRET are not set. Run \`dingtalk-bridge init\`, which asks for both and writes ./.env, or set them: Client ID and Client Secret from open-dev.dingtalk.com → the app → 凭证与基础信息. Or let \`openclaw channels add\` write them into OpenClaw's file on this machine, which the bridge reads too.
      "
    `);
  });

  it("doctor", async () => {
    expect(await doctorOf({ HOME: "/nonexistent" })).toMatchInlineSnapshot(`
      "ERROR  settings  DINGTALK_APP_KEY and DINGTALK_APP_SECRET are not set [config_invalid]
        mend: Run \`dingtalk-bridge init\`, which asks for both and writes ./.env, or set them: Client ID and Client Secret from open-dev.dingtalk.com → the app → 凭证与基础信息. Or let \`openclaw channels add\` write them into OpenClaw's file on this machine, which the bridge reads too.
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend settings, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("a wrong secret", () => {
  const env = { DINGTALK_APP_SECRET: "another-secret" };

  it("start", async () => {
    expect(await logOf({ env, gateway: { checkToken: false } }, "stream not connected")).toMatchInlineSnapshot(`
      "error: stream not connected
        open call: 401: DingTalk does not accept Client ID and Secret (authFailed: 鉴权失败)
        Copy Client ID and Client Secret again: open-dev.dingtalk.com → the app → 凭证与基础信息. They are the account's appKey and appSecret (DINGTALK_APP_KEY, DINGTALK_APP_SECRET); \`dingtalk-bridge init --force\` asks for them, checks and writes them. Then restart the bridge (in Docker: docker compose up -d)."
    `);
  });

  it("doctor", async () => {
    const place = await surroundings({ env, gateway: { checkToken: false } });
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "ERROR  credentials  DingTalk does not accept App Key and App Secret (400 invalidClientIdOrSecret: 无效的clientId或者clientSecret (request ID)) [dingtalk_bad_credentials]
        mend: open-dev.dingtalk.com → the app → 凭证与基础信息: copy Client ID and Client Secret again, then: dingtalk-bridge init --force
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend credentials, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("no plugin", () => {
  const env = { BRIDGE_GATEWAY_EVENTS_PATH: "/elsewhere" };

  it("start", async () => {
    expect(await logOf({ env }, "gateway not ready")).toMatchInlineSnapshot(
      `"warn: gateway not ready: no channel plugin at /elsewhere; install it with: openclaw plugins install --force "$(dingtalk-bridge plugin-path)", then restart the gateway"`,
    );
  });

  it("doctor", async () => {
    const place = await surroundings({ env });
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "ERROR  plugin  no channel plugin at /elsewhere [plugin_missing]
        mend: install it with: openclaw plugins install --force "$(dingtalk-bridge plugin-path)", then restart the gateway
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend plugin, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("App Keys that differ", () => {
  const env = { BRIDGE_TOKEN: "a-shared-token-of-ours" };
  const gateway = { accounts: [{ id: "main", appKey: "dinganother000000001", token: env.BRIDGE_TOKEN }] };

  it("start", async () => {
    expect(await logOf({ env, gateway }, "gateway not ready")).toMatchInlineSnapshot(
      `"warn: gateway not ready: the plugin has no account with the App Key of main (it has: main); set the same App Key in channels.dingtalk of the gateway's openclaw.json; to check: dingtalk-bridge doctor"`,
    );
  });

  it("doctor", async () => {
    const place = await surroundings({ env, gateway });
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "ERROR  app_key  the plugin has no account with the App Key of main (it has: main) [account]
        mend: set the same App Key in channels.dingtalk of the gateway's openclaw.json; to check: dingtalk-bridge doctor
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend app_key, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("a wrong token", () => {
  const gateway = { accounts: [{ id: "main", appKey: APP.appKey, token: `${TOKEN}x` }] };

  it("start", async () => {
    expect(await logOf({ gateway }, "gateway not ready")).toMatchInlineSnapshot(
      `"warn: gateway not ready: the gateway refuses the token of account main; give both sides the same App Key and App Secret, or the same BRIDGE_TOKEN (plugin setting: bridgeToken); to check: dingtalk-bridge doctor"`,
    );
  });

  it("doctor", async () => {
    const place = await surroundings({ gateway });
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "ERROR  token  the gateway refuses the token of account main [gateway_token]
        mend: give both sides the same App Key and App Secret, or the same BRIDGE_TOKEN (plugin setting: bridgeToken); to check: dingtalk-bridge doctor
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend token, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("no published version: the connection stands, and nothing ever comes", () => {
  const overrides = { silence: { everyMs: 10, afterMs: 0 } };

  it("start, and the doctor beside it", async () => {
    expect(await logOf({ overrides }, "no message yet")).toMatchInlineSnapshot(`
      "warn: no message yet: connected for more than 0 minutes, and no message ever came: check the robot's message mode, published version, visibility
        write to the robot. If that does not show in the log: open-dev.dingtalk.com → the app: 应用能力 → 机器人: 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published, and its 应用可用范围 includes you. In groups @ the robot. To check the rest: dingtalk-bridge doctor"
    `);
    if (!bridge) throw new Error("it does not run");
    const env = envOf(bridge, {
      DINGTALK_API_BASE: bridge.dingtalk.url,
      DINGTALK_OAPI_BASE: bridge.dingtalk.url,
      BRIDGE_GATEWAY_URL: bridge.gateway.url,
      BRIDGE_DISK_MIN_FREE_MB: "1",
    });
    expect(await doctorOf(env)).toMatchInlineSnapshot(`
      "WARNING  stream  connected for more than 0 minutes, and no message ever came: check the robot's message mode, published version, visibility [no_message_yet]
        mend: write to the robot. If that does not show in the log: open-dev.dingtalk.com → the app: 应用能力 → 机器人: 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published, and its 应用可用范围 includes you. In groups @ the robot. To check the rest: dingtalk-bridge doctor
      0 errors, 1 warning. docs/doctor.md explains every code.
      Next: mend stream, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("Stream mode off: DingTalk refuses the connection", () => {
  const refusal = { kind: "answer", status: 400, body: { code: "invalidParameter", message: "x" } } as const;

  it("start", async () => {
    bridge = await startBridge();
    const { dingtalk } = bridge;
    dingtalk.faults.open(refusal);
    const env = { DINGTALK_API_BASE: dingtalk.url };
    const first = bridge;
    expect(await logOf({ env }, "stream not connected")).toMatchInlineSnapshot(`
      "error: stream not connected
        open call: 400: DingTalk refuses a Stream connection for this app (invalidParameter: x)
        On open-dev.dingtalk.com → the app, check in this order: 应用能力 → 机器人: 机器人配置 is on and 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published; 安全设置 → 服务器出口IP: empty, or holds the public address of this machine; 凭证与基础信息: Client ID and Client Secret are those configured. The bridge tries again by itself; \`dingtalk-bridge doctor\` looks at all of it."
    `);
    await bridge.close();
    bridge = first;
  });

  it("doctor", async () => {
    const place = await surroundings();
    place.dingtalk.faults.open(refusal);
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "ERROR  stream  open call: 400: DingTalk refuses a Stream connection for this app (invalidParameter: x) [stream_refused]
        mend: On open-dev.dingtalk.com → the app, check in this order: 应用能力 → 机器人: 机器人配置 is on and 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published; 安全设置 → 服务器出口IP: empty, or holds the public address of this machine; 凭证与基础信息: Client ID and Client Secret are those configured. The bridge tries again by itself; \`dingtalk-bridge doctor\` looks at all of it.
      1 error, 0 warnings. docs/doctor.md explains every code.
      Next: mend stream, then run: dingtalk-bridge doctor"
    `);
  });
});

describe("no permission for cards", () => {
  const dingtalk = { apps: [{ ...APP, missingScopes: ["Card.Instance.Write"] }] };

  it("start, when the first reply would be a card", async () => {
    const stream = async function* (): AsyncGenerator<string> {
      yield "a reply";
      await Promise.resolve();
      yield " that grows";
    };
    bridge = await startBridge({
      dingtalk,
      gateway: { accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }], stream, deltaMs: 300 },
    });
    await bridge.dingtalk.say({ text: "hi" });
    await expect.poll(() => bridge?.logs.text).toContain("DingTalk lets the app create no cards");
    const line = bridge.logs.lines.find(({ msg }) => word(msg).startsWith("DingTalk lets"));
    expect(neutral([line?.["msg"], line?.["mend"]].map(word).join("\n  "))).toMatchInlineSnapshot(`
      "DingTalk lets the app create no cards: replies are sent as messages when they are complete
        open-dev.dingtalk.com → the app → 权限管理 → 互动卡片实例写权限 (Card.Instance.Write); to check: dingtalk-bridge doctor"
    `);
  });

  it("doctor", async () => {
    const place = await surroundings({ dingtalk });
    expect(await doctorOf(place.env)).toMatchInlineSnapshot(`
      "WARNING  permission  Card.Instance.Write (互动卡片实例写权限) is missing: replies come as messages when they are complete, without a card [dingtalk_permission_missing]
        mend: open-dev.dingtalk.com → the app → 开发配置 → 权限管理: search Card.Instance.Write → 立即开通; if it stays refused, publish a version
      0 errors, 1 warning. docs/doctor.md explains every code.
      Next: mend permission, then run: dingtalk-bridge doctor"
    `);
  });
});
