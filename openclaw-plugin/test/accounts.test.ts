import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { defaultAccountId, isConfigured, listAccountIds, resolveAccount } from "../src/accounts.ts";
import { deriveToken } from "../src/token.ts";

const config = (dingtalk: object): OpenClawConfig => ({ channels: { dingtalk } });
const resolve = (dingtalk: object, id = "default", env = {}) => resolveAccount(config(dingtalk), id, env);
const TOP = { appKey: "dingtop", appSecret: "top-secret" };

describe("credentials", () => {
  test("clientId and clientSecret are the same as appKey and appSecret", () => {
    expect(resolve({ clientId: "dingtop", clientSecret: "top-secret" })).toEqual(resolve(TOP));
  });

  test("come from the environment when the configuration has none, for the default account only", () => {
    const env = { DINGTALK_APP_KEY: "dingenv", DINGTALK_APP_SECRET: "env-secret" };
    expect(resolve({}, "default", env)).toMatchObject({ appKey: "dingenv", appSecret: "env-secret" });
    expect(isConfigured(resolve({ accounts: { second: {} } }, "second", env))).toBe(false);
  });

  test("an account without them is not configured, and accepts no token at all", () => {
    expect(resolve({ appKey: "dingtop" }).tokens).toEqual([]);
  });
});

describe("accounts", () => {
  test("main, default and the top level are one account", () => {
    const cfg = { ...TOP, accounts: { main: { botName: "one" }, second: { appKey: "k2", appSecret: "s2" } } };
    expect(listAccountIds(config(cfg), {})).toEqual(["main", "second"]);
    expect(resolve(cfg, "main")).toEqual(resolve(cfg, "default"));
    expect(resolve(cfg)).toMatchObject({ accountId: "main", bridgeAccount: "main", name: "one", appKey: "dingtop" });
  });

  test("the main account is called as it is written, and is the one that is meant where none is named", () => {
    const second = { second: { appKey: "k2", appSecret: "s2" } };
    expect(listAccountIds(config({ ...TOP, accounts: second }), {})).toEqual(["default", "second"]);
    expect(defaultAccountId(config({ ...TOP, accounts: second }), {})).toBe("default");
    expect(defaultAccountId(config({ accounts: { ...second, main: TOP } }), {})).toBe("main");
    expect(defaultAccountId(config({ defaultAccount: "second", accounts: { ...second, main: TOP } }), {})).toBe(
      "second",
    );
    expect(defaultAccountId(config({ defaultAccount: "nobody", accounts: { ...second, main: TOP } }), {})).toBe("main");
    expect(defaultAccountId(config({ accounts: second }), {})).toBe("second");
    expect(resolve({ ...TOP, accounts: second })).toMatchObject({ accountId: "default", bridgeAccount: "main" });
  });

  test("a key of the account hides the top level's key under either name", () => {
    const main = { clientId: "dingown", clientSecret: "own-secret" };
    expect(resolve({ ...TOP, accounts: { main } })).toMatchObject({ appKey: "dingown", appSecret: "own-secret" });
  });

  test("a named account inherits settings but never credentials", () => {
    const cfg = { ...TOP, dmPolicy: "pairing", bridgeUrl: "http://bridge:1/", accounts: { second: {} } };
    expect(resolve(cfg, "second")).toMatchObject({
      dmPolicy: "pairing",
      bridgeUrl: "http://bridge:1",
      appKey: "",
      tokens: [],
    });
  });

  test("switched off at the top, all are off", () => {
    const cfg = { ...TOP, enabled: false, accounts: { second: { enabled: true } } };
    expect([resolve(cfg).enabled, resolve(cfg, "second").enabled]).toEqual([false, false]);
  });
});

describe("tokens", () => {
  test("are derived from the account's own credentials", () => {
    expect(resolve(TOP).tokens).toEqual([deriveToken("dingtop", "top-secret")]);
  });

  test("a shared secret replaces the derived one; two of them are both accepted", () => {
    expect(resolve({ ...TOP, bridgeToken: "new-shared-secret, old-shared-secret" }).tokens).toEqual([
      "new-shared-secret",
      "old-shared-secret",
    ]);
    expect(resolve(TOP, "default", { BRIDGE_TOKEN: "from-environment" }).tokens).toEqual(["from-environment"]);
  });
});

describe("who may write", () => {
  test.for([
    ["nothing said", {}, "open", ["*"]],
    ["open", { dmPolicy: "open" }, "open", ["*"]],
    ["open with a list: the list stands", { dmPolicy: "open", allowFrom: ["staff001"] }, "open", ["staff001"]],
    ["open with an empty list: nobody", { dmPolicy: "open", allowFrom: [] }, "open", []],
    ["allowlist without a list: nobody", { dmPolicy: "allowlist" }, "allowlist", []],
    ["a list that is no list: nobody", { dmPolicy: "open", allowFrom: "staff001" }, "open", []],
    ["a policy that is not known: nobody", { dmPolicy: "opne" }, "disabled", []],
    ["ids keep their case", { dmPolicy: "allowlist", allowFrom: [" Staff001 ", 42] }, "allowlist", ["Staff001", "42"]],
  ] as const)("%s", ([, settings, dmPolicy, allowFrom]) => {
    expect(resolve({ ...TOP, ...settings })).toMatchObject({ dmPolicy, allowFrom });
  });

  test("credentials of the environment alone: who writes is asked for a code", () => {
    const env = { DINGTALK_APP_KEY: "dingenv", DINGTALK_APP_SECRET: "env-secret" };
    const pairing = { dmPolicy: "pairing", openByDefault: false };
    expect(resolveAccount({}, "default", env)).toMatchObject(pairing);
    expect(resolve({ enabled: true, bridgeUrl: "http://bridge:1" }, "default", env)).toMatchObject(pairing);
    expect(resolve(TOP, "default", env)).toMatchObject({ dmPolicy: "open", openByDefault: true });
    expect(resolve({ ...TOP, dmPolicy: "open" }).openByDefault).toBe(false);
  });

  test("groups have a list of their own", () => {
    expect(resolve({ ...TOP, groupPolicy: "allowlist", allowFrom: ["*"] })).toMatchObject({ groupAllowFrom: [] });
    expect(resolve({ ...TOP, groupPolicy: "opne" }).groupPolicy).toBe("disabled");
  });
});

test.for([
  [undefined, true],
  [true, true],
  ["partial", true],
  [{ mode: "partial" }, true],
  [false, false],
  ["off", false],
  [{ mode: "off" }, false],
] as const)("streaming %j: answers grow: %j", ([streaming, grows]) => {
  expect(resolve({ ...TOP, ...(streaming !== undefined && { streaming }) }).streaming).toBe(grows);
});

test("the largest file is in megabytes, and has a default", () => {
  expect(resolve({ ...TOP, mediaMaxMb: 1 }).mediaMaxBytes).toBe(1024 * 1024);
  expect(resolve({ ...TOP, mediaMaxMb: "many" }).mediaMaxBytes).toBe(20 * 1024 * 1024);
});

test("a SecretRef that OpenClaw did not resolve is named, and is no secret", () => {
  const env = { DINGTALK_APP_SECRET: "env-secret" };
  const appSecret = { source: "env", provider: "default", id: "NAME" };
  const account = resolve({ appKey: "dingtop", appSecret }, "default", env);
  expect(account).toMatchObject({
    tokens: [],
    credentialsProblem: expect.stringContaining("appSecret is a SecretRef"),
  });
});
