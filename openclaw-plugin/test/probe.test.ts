import { createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resolveAccount } from "../src/accounts.ts";
import { probeBridge } from "../src/probe.ts";
import { FakeBridge, problem } from "./support/fake-bridge.ts";

const bridge = new FakeBridge();
beforeEach(async () => {
  bridge.script.clear();
  bridge.calls.length = 0;
  await bridge.start();
});
afterEach(() => bridge.stop());

const OK = { status: "ok" };
const status = (change: object = {}): { status: number; body: object } => ({
  status: 200,
  body: { version: "1.2.3", accounts: [{ name: "main", robotCode: "k", ...OK }], gateway: OK, ...change },
});
const probe = async (settings: object = {}) =>
  await probeBridge({ account: bridge.bridge(settings).account, userAgent: "test" });

test("a bridge where all is right is connected, and hears which contract is spoken", async () => {
  bridge.script.set("GET /v1/status", [status()]);
  expect(await probe()).toEqual({ ok: true, state: "connected", version: "1.2.3", problems: [] });
  expect(bridge.calls.at(-1)?.headers).toMatchObject({
    "x-bridge-contract": "1",
    authorization: expect.stringMatching(/^Bearer \S+$/),
  });
});

test.for([
  [{ accounts: [{ name: "main", status: "starting" }] }, "starting", /is connecting to DingTalk/],
  [
    {
      accounts: [
        { name: "main", status: "down", code: "stream_bad_credentials", detail: "bad secret", mend: "mend it" },
      ],
    },
    "dingtalk",
    /not connected to DingTalk: bad secret; mend it/,
  ],
  [
    { accounts: [{ name: "main", status: "degraded", detail: "short lives" }] },
    "dingtalk",
    /connected to DingTalk, but: short lives/,
  ],
  [
    { accounts: [{ name: "other", robotCode: "x", ...OK }] },
    "account",
    /no account main \(it has: other\); add the robot/,
  ],
  [
    { accounts: [{ name: "sales", robotCode: "k", ...OK }] },
    "account",
    /no account main \(it has: sales\); call the account sales here/,
  ],
  [{ accounts: [] }, "account", /it has: none/],
  [
    { gateway: { status: "degraded", code: "account", detail: "no account with the App Key of main", mend: "set it" } },
    "gateway",
    /cannot bring messages to OpenClaw: no account with the App Key of main; set it/,
  ],
] as const)("degraded: %j", async ([change, code, words]) => {
  bridge.script.set("GET /v1/status", [status(change)]);
  const report = await probe();
  expect(report).toMatchObject({ ok: false, state: "degraded", version: "1.2.3", problems: [{ code }] });
  expect(report.error).toMatch(words);
});

test.for([
  [
    problem(401, "unauthorized"),
    "token",
    "degraded",
    /refuses the token.*same App Key and App Secret.*channels\.dingtalk\.bridgeToken/,
  ],
  [problem(400, "unsupported_version"), "contract", "degraded", /another contract.*same release/],
  [problem(503, "stopping"), "away", "unreachable", /answers HTTP 503 stopping/],
  [
    { status: 200, body: Buffer.from("<html>"), type: "text/html" },
    "not_bridge",
    "unreachable",
    /\(a web page\).*bridgeUrl/,
  ],
  [{ status: 404, body: {} }, "not_bridge", "unreachable", /not dingtalk-bridge \(HTTP 404\)/],
  [{ status: 200, body: { some: "thing" } }, "not_bridge", "unreachable", /not dingtalk-bridge/],
] as const)("the answer %j is %s", async ([answer, code, state, words]) => {
  bridge.script.set("GET /v1/status", [answer]);
  const report = await probe();
  expect(report).toMatchObject({ ok: false, state, problems: [{ code }] });
  expect(report.error).toMatch(words);
});

test.for([
  ["2", /contract "2", this plugin 1; install the plugin that came with this bridge: openclaw plugins install/],
  ["0", /contract "0", this plugin 1; update dingtalk-bridge/],
  ["1.4", undefined],
] as const)("a bridge that says contract %j", async ([contract, words]) => {
  bridge.script.set("GET /v1/status", [{ ...status(), headers: { "x-bridge-contract": contract } }]);
  const report = await probe();
  if (words === undefined) expect(report.ok).toBe(true);
  else expect(report.error).toMatch(words);
});

test("an account without credentials is not asked about", async () => {
  const account = resolveAccount({ channels: { dingtalk: {} } }, "default", {});
  const report = await probeBridge({ account, userAgent: "test" });
  expect(report.problems).toMatchObject([{ code: "credentials", kind: "auth" }]);
  expect(bridge.calls).toEqual([]);
});

test("a path that the bridge does not know is named", async () => {
  bridge.script.set("GET /api/v1/status", [problem(404, "not_found")]);
  const { error } = await probe({ bridgeUrl: `${bridge.url}/api/` });
  expect(error).toContain(
    `has a path (/api) where the bridge has none; run "openclaw config set channels.dingtalk.bridgeUrl ${bridge.url}"`,
  );
});

test("https to a port without TLS is named", async () => {
  const { error } = await probe({ bridgeUrl: bridge.url.replace("http:", "https:") });
  expect(error).toMatch(/says https, but no TLS is spoken.*bridgeUrl http:\/\/127\.0\.0\.1:\d+"$/);
});

test("a password in the address is refused and shown nowhere", async () => {
  const { error } = await probe({ bridgeUrl: bridge.url.replace("http://", "http://me:hunter2@") });
  expect(error).toMatch(/not of the form http:\/\/<host>:<port>/);
  expect(error).not.toContain("hunter2");
});

test("nobody there is told with the command that starts it", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  const report = await probe({ bridgeUrl: `http://127.0.0.1:${port}` });
  expect(report.error).toBe(
    `no bridge answers at http://127.0.0.1:${port} (ECONNREFUSED); start it with "npx dingtalk-bridge start"`,
  );
});
