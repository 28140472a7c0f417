import { afterEach, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND, startTwo } from "../support/two-accounts.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const TO = { BRIDGE_ALERTS_TO: "user:staff001", BRIDGE_LANGUAGE: "en" };
const SOON = { alertsEveryMs: 20 };
/** An outage of the gateway shows at once. */
const SEEN = { ...SOON, gatewayTimings: { wrongMs: 20, rightMs: 20 } };

/** What operators were told, in order. */
const told = (): string[] =>
  bridge?.dingtalk.sent.flatMap(({ text }) => (text.startsWith("[dingtalk-bridge]") ? [text] : [])) ?? [];
const toldThrough = (): string[] =>
  bridge?.dingtalk.sent.flatMap(({ app, text }) => (text.startsWith("[dingtalk-bridge]") ? [app] : [])) ?? [];
/** To somebody whom DingTalk does not know: a dead letter at once. */
const intoNowhere = (running: TestBridge) =>
  running.api(
    "POST",
    "/v1/messages",
    { to: "user:nobody", content: { type: "text", text: "?" } },
    { prefer: "wait=5" },
  );

it("a dead letter: one line an hour, over a restart too, sent like any message and counted in the quota", async () => {
  bridge = await startBridge({ env: TO, overrides: SOON });
  await intoNowhere(bridge);
  await expect
    .poll(told)
    .toEqual([expect.stringMatching(/A message could not be delivered, the latest: recipient_unknown, out_/)]);
  expect(await (await bridge.api("GET", "/v1/status")).text()).toContain('"oto":2');
  await bridge.restart();
  await intoNowhere(bridge);
  await expect.poll(() => bridge?.logs.text.split("operators are told").length).toBe(2);
  // What would have followed at once has had its time when this has arrived.
  const last = { to: "user:staff002", content: { type: "text", text: "last" } };
  await bridge.api("POST", "/v1/messages", last, { prefer: "wait=5" });
  expect(told()).toHaveLength(1);
});

it("nobody is told unless somebody is named, and each one named is told", async () => {
  bridge = await startBridge({ overrides: SOON, env: { BRIDGE_ALERTS_TO: "user:staff001, user:staff002" } });
  await intoNowhere(bridge);
  await expect.poll(told).toHaveLength(2);
  expect(told()[0]).toContain("有 1 条消息未能送达");
  await bridge.close();
  bridge = await startBridge({ overrides: SOON });
  await intoNowhere(bridge);
  const last = { to: "user:staff002", content: { type: "text", text: "last" } };
  await bridge.api("POST", "/v1/messages", last, { prefer: "wait=5" });
  expect(told()).toEqual([]);
});

it("an alert that cannot be delivered is a dead letter that no alert speaks of", async () => {
  const env = { ...TO, BRIDGE_ALERTS_TO: "user:nobody, user:staff001", BRIDGE_ALERTS_GATEWAY_AWAY_AFTER: "0" };
  bridge = await startBridge({ overrides: SEEN, env });
  await bridge.gateway.crash();
  await expect.poll(told).toHaveLength(1);
  await expect.poll(() => bridge?.logs.text).toContain("entry is a dead letter");
  const { id } = (await (await intoNowhere(bridge)).json()) as { id: string };
  await expect.poll(told).toHaveLength(2);
  expect(told()[1]).toContain(`A message could not be delivered, the latest: recipient_unknown, ${id}.`);
});

it("the gateway is away: after the time that is set, with what is wrong", async () => {
  const env = { ...TO, BRIDGE_ALERTS_GATEWAY_AWAY_AFTER: "0" };
  bridge = await startBridge({ overrides: SEEN, env });
  await bridge.gateway.crash();
  await expect.poll(told).toEqual([expect.stringMatching(/The gateway has taken no messages for 0 minutes \(.+\)/)]);
});

it("not before", async () => {
  bridge = await startBridge({ overrides: SEEN, env: TO });
  await bridge.gateway.crash();
  await expect.poll(() => bridge?.logs.text).toContain("gateway not ready");
  await intoNowhere(bridge);
  await expect.poll(told).toHaveLength(1);
  expect(told()[0]).not.toContain("gateway");
});

it("credentials refused: told through another account, or not at all", async () => {
  bridge = await startTwo({
    env: TO,
    overrides: { ...SOON, streamTimings: { credentialsRetryMs: 20, backoffBaseMs: 10, backoffCapMs: 20 } },
  });
  bridge.dingtalk.faults.open({ kind: "error", error: "authFailed", app: SECOND.appKey });
  bridge.dingtalk.faults.abort({ app: SECOND.appKey });
  await expect.poll(told).toEqual([expect.stringContaining("DingTalk refuses App Key or App Secret of support")]);
  expect(toldThrough()).toEqual([expect.not.stringContaining(SECOND.appKey)]);
  await bridge.close();
  bridge = await startBridge({
    env: { ...TO, DINGTALK_APP_SECRET: "another-secret" },
    overrides: SOON,
    unconnected: true,
  });
  await expect.poll(() => bridge?.logs.text).toContain("operators cannot be told: no account can send");
  expect(told()).toEqual([]);
});

it("80 % of a budget of the month", async () => {
  bridge = await startBridge({ overrides: SOON, env: { ...TO, BRIDGE_QUOTA_CALLS: "5" } });
  const body = { to: "user:staff002", content: { type: "text", text: "?" } };
  for (let n = 0; n < 3; n++) await bridge.api("POST", "/v1/messages", body, { prefer: "wait=5" });
  expect(told()).toEqual([]);
  await bridge.api("POST", "/v1/messages", body, { prefer: "wait=5" });
  await expect.poll(told).toEqual([expect.stringContaining("80 % of the Open API calls of main are used")]);
});

it("a second program with the same Client ID is suspected", async () => {
  const streamTimings = { backoffBaseMs: 5, backoffCapMs: 10 };
  bridge = await startBridge({ overrides: { ...SOON, streamTimings }, env: TO });
  bridge.dingtalk.faults.connect({ kind: "close", how: 1006 });
  bridge.dingtalk.faults.abort();
  await expect.poll(told).toEqual([expect.stringContaining("perhaps another program uses the same Client ID")]);
});
