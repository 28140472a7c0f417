import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { APP } from "../support/bridge.ts";
import { examine, surroundings } from "./doctor-support.ts";
import { cli } from "./support.ts";

const api = (code: string) => ({ kind: "answer", status: 400, body: { code, message: code } }) as const;

describe("before the first start", () => {
  it("finds nothing wrong where nothing is, shows nobody anything, and leaves nothing behind", async () => {
    const { env, dingtalk } = await surroundings();
    const { status, ok, findings } = await examine(env);
    expect({ status, ok }).toEqual({ status: 0, ok: true });
    expect(findings.filter(({ code }) => code !== "ok" && code !== "skipped")).toEqual([]);
    expect(dingtalk.sent).toEqual([]);
    expect(dingtalk.connections).toEqual([]);
    expect(dingtalk.allConnections).toMatchObject([{ closedBy: "client", closeCode: 1000 }]);
    expect(dingtalk.usage().calls).toBeLessThanOrEqual(4);
    expect(existsSync(env["BRIDGE_DATA_DIR"] ?? "")).toBe(false);
  });

  it("asks neither DingTalk nor the gateway with --offline, and connects not with --no-connect", async () => {
    const { env, dingtalk, gateway } = await surroundings();
    await gateway.close();
    expect((await examine(env, "--offline")).ok).toBe(true);
    expect(dingtalk.requests).toEqual([]);
    const { of } = await examine(env, "--no-connect");
    expect(of("stream")).toEqual(["note skipped"]);
    expect(dingtalk.allConnections).toEqual([]);
  });
});

it("does not leave out in silence what was asked for", async () => {
  const { env } = await surroundings();
  const { status, stdout, stderr } = await cli(["doctor", "--offline", "--send", "user:staff001"], { env });
  expect({ status, stdout }).toEqual({ status: 64, stdout: "" });
  expect(stderr).toContain("--offline sends nothing");
});

describe("credentials", () => {
  it("that are wrong: what needs them is not tried", async () => {
    const { env, dingtalk } = await surroundings({ env: { DINGTALK_APP_SECRET: "another-secret" } });
    const { status, of, findings } = await examine(env);
    expect(status).toBe(1);
    expect(of("credentials")).toEqual(["error dingtalk_bad_credentials"]);
    expect(findings.find(({ check }) => check === "credentials")?.mend).toContain("dingtalk-bridge init --force");
    for (const check of ["stream", "robot", "permission", "card_template"] as const)
      expect(of(check)).toEqual(["note skipped"]);
    expect(dingtalk.requests.map(({ api }) => api)).not.toContain("connections/open");
  });

  it("that are refused because of this machine's address", async () => {
    const { env, dingtalk } = await surroundings();
    dingtalk.faults.api("oauth2/accessToken", { kind: "error", error: "ipNotInWhiteList" });
    const { of, findings } = await examine(env);
    expect(of("credentials")).toEqual(["error dingtalk_ip_not_allowed"]);
    expect(findings.find(({ check }) => check === "credentials")?.mend).toContain("服务器出口IP");
  });
});

describe("the Stream", () => {
  it("refused: what to look at in the console", async () => {
    const { env, dingtalk } = await surroundings();
    dingtalk.faults.open(api("invalidParameter"));
    const { of, findings } = await examine(env);
    expect(of("stream")).toEqual(["error stream_refused"]);
    expect(findings.find(({ check }) => check === "stream")?.mend).toContain("Stream 模式");
  });

  it("whose WebSocket is refused", async () => {
    const { env, dingtalk } = await surroundings();
    dingtalk.faults.connect({ kind: "status", status: 502 });
    expect((await examine(env)).of("stream")).toEqual(["error stream_handshake_failed"]);
  });
});

describe("robot and permissions", () => {
  it.each([
    ["qyapi_robot_sendmsg", "error"],
    ["Card.Instance.Write", "warning"],
    ["Card.Streaming.Write", "warning"],
  ])("%s missing is told by its name, with where to click", async (scope, level) => {
    const { env } = await surroundings({ dingtalk: { apps: [{ ...APP, missingScopes: [scope] }] } });
    const { status, of, findings } = await examine(env);
    expect(status).toBe(level === "error" ? 1 : 0);
    const missing = findings.filter(({ code }) => code === "dingtalk_permission_missing");
    expect(missing).toMatchObject([{ check: "permission", level }]);
    expect(missing[0]?.text).toContain(scope);
    expect(missing[0]?.mend).toContain(`权限管理: search ${scope} → 立即开通`);
    expect(of("permission").filter((one) => one === "ok ok")).toHaveLength(2);
  });

  it.each([
    ["invalidParameter.robotCode.notExsit", "robot_code_wrong"],
    ["template.not.existed", "robot_code_wrong"],
    ["template.stopped", "robot_stopped"],
  ])("%s of DingTalk is %s", async (theirs, code) => {
    const { env, dingtalk } = await surroundings();
    dingtalk.faults.api("oToMessages/readStatus", api(theirs));
    const { of } = await examine(env);
    expect(of("robot")).toEqual([`error ${code}`]);
    expect(of("permission")[0]).toBe("ok ok");
  });

  it("a robot code of another app", async () => {
    const { env } = await surroundings({ env: { DINGTALK_ROBOT_CODE: "dinganotherrobot0001" } });
    expect((await examine(env)).of("robot")).toEqual(["error robot_code_wrong"]);
  });

  it("what DingTalk says nothing of is not called granted", async () => {
    const { env, dingtalk } = await surroundings();
    dingtalk.faults.exhaust("calls");
    const { of, ok } = await examine(env);
    expect(of("permission")).toEqual(Array(3).fill("note permission_unknown"));
    expect(ok).toBe(true);
  });
});

describe("the card template", () => {
  it("that is not there or not published", async () => {
    const { env, dingtalk } = await surroundings({ env: { DINGTALK_CARD_TEMPLATE_ID: "no-such.schema" } });
    dingtalk.setKnobs({ cardTemplates: ["other.schema"] });
    expect((await examine(env)).of("card_template")).toEqual(["warning card_template_missing"]);
  });

  it.each([{ DINGTALK_CARD_TEMPLATE_ID: "off" }, { BRIDGE_REPLY_FORMAT: "markdown" }] as Record<string, string>[])(
    "nothing about cards with %j",
    async (more) => {
      const { env, dingtalk } = await surroundings({ env: more });
      const { of } = await examine(env);
      expect(of("card_template")).toEqual(["note skipped"]);
      expect(of("permission")).toEqual(["ok ok", "note skipped"]);
      expect(dingtalk.requests.some(({ api }) => /card|createAndDeliver|streaming/.test(api))).toBe(false);
    },
  );
});

describe("the gateway", () => {
  const TOKEN_OF_ANOTHER = [{ id: "main", appKey: APP.appKey, token: "another-token-of-theirs" }];

  it("away: nothing else of it is spoken of", async () => {
    const { env, gateway } = await surroundings();
    await gateway.close();
    const { of, status } = await examine(env);
    expect(status).toBe(1);
    expect(of("gateway")).toEqual(["error gateway_unreachable"]);
    expect([...of("plugin"), ...of("token"), ...of("app_key")]).toEqual([]);
  });

  it("without plugin", async () => {
    const { env } = await surroundings({ env: { BRIDGE_GATEWAY_EVENTS_PATH: "/elsewhere" } });
    const { of } = await examine(env);
    expect([of("gateway"), of("plugin"), of("token")]).toEqual([["ok ok"], ["error plugin_missing"], []]);
  });

  it("that refuses the token", async () => {
    const { env } = await surroundings({ gateway: { accounts: TOKEN_OF_ANOTHER } });
    const { of } = await examine(env);
    expect([of("gateway"), of("token"), of("app_key")]).toEqual([["ok ok"], ["error gateway_token"], []]);
  });

  it("with another App Key, and with a disabled account", async () => {
    const shared = { BRIDGE_TOKEN: "a-shared-token-of-ours" };
    const other = [{ id: "main", appKey: "dinganother000000001", token: shared.BRIDGE_TOKEN }];
    const { env } = await surroundings({ env: shared, gateway: { accounts: other } });
    const { of } = await examine(env);
    expect([of("plugin"), of("token"), of("app_key")]).toEqual([["ok ok"], ["ok ok"], ["error account"]]);
    const disabled = [{ id: "main", appKey: APP.appKey, token: shared.BRIDGE_TOKEN, enabled: false }];
    const again = await surroundings({ env: shared, gateway: { accounts: disabled } });
    expect((await examine(again.env)).of("app_key")).toEqual(["error account"]);
  });
});

it("settings: everything that is wrong, each with its mend, and nothing else is tried", async () => {
  const { status, findings } = await examine({ BRIDGE_PORT: "x", HOME: "/nonexistent" });
  expect(status).toBe(1);
  expect(findings).toMatchObject([
    { check: "settings", code: "config_invalid", level: "error", text: expect.stringContaining("DINGTALK_APP_KEY") },
    { check: "settings", code: "config_invalid", level: "error", text: expect.stringContaining("BRIDGE_PORT") },
  ]);
  expect(findings[0]?.mend).toContain("dingtalk-bridge init");
});

it("one account of several", async () => {
  const second = { appKey: "dingtestkey00000002", appSecret: "test-secret-two-of-two" };
  const { env, dir } = await surroundings({ dingtalk: { apps: [APP, second] } });
  const { writeFileSync } = await import("node:fs");
  const file = `${dir}/config.json5`;
  writeFileSync(file, JSON.stringify({ accounts: { main: APP, support: second } }));
  const both = { ...env, BRIDGE_CONFIG: file, DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "" };
  const accounts = async (...args: string[]): Promise<unknown[]> =>
    (await examine(both, ...args)).findings.flatMap(({ check, account }) => (check === "stream" ? [account] : []));
  expect(await accounts()).toEqual(["main", "support"]);
  expect(await accounts("--account", "support")).toEqual(["support"]);
  const { status, stderr } = await cli(["doctor", "--account", "sales"], { env: both });
  expect(status).toBe(1);
  expect(stderr).toContain("one of main, support");
  expect((await cli(["doctor"], { env: both })).stdout).toContain("support: DingTalk accepts");
});
