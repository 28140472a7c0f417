import { expect, it, onTestFinished } from "vitest";
import { NOTICES } from "../../src/domain/notices.ts";
import type { TestBridge } from "../support/bridge.ts";
import { SECOND as SUPPORT, startTwo } from "../support/two-accounts.ts";
import { bridgeWith, deadLetters, said, send, taken, texts } from "./support.ts";

const OPERATOR = { BRIDGE_ALERTS_TO: "user:staff009", BRIDGE_LANGUAGE: "en" };
const SOON = { alertsEveryMs: 20, gatewayTimings: { wrongMs: 20, rightMs: 20 } };

/** What the operator was told. */
const told = (bridge: TestBridge): string[] => texts(bridge).filter((text) => text.startsWith("[dingtalk-bridge]"));

function operatorOf(bridge: TestBridge): void {
  bridge.dingtalk.addUser({ staffId: "staff009", name: "王五" });
}

/** A dead letter, which is told after whatever else was to be told. */
async function lastAlert(bridge: TestBridge): Promise<void> {
  await send(bridge, "user:nobody", "?");
  await expect.poll(() => told(bridge).at(-1)).toMatch(/could not be delivered/);
}

it("BRIDGE_NOTICES_AWAY: off, nobody is told that the assistant is away", async () => {
  const bridge = await bridgeWith(
    {
      ...OPERATOR,
      BRIDGE_NOTICES_AWAY: "false",
      BRIDGE_NOTICES_AWAY_AFTER: "1s",
      BRIDGE_ALERTS_GATEWAY_AWAY_AFTER: "4s",
    },
    { overrides: SOON, gateway: { mode: { kind: "answer", status: 404 } } },
  );
  operatorOf(bridge);
  await said(bridge, "hallo");
  // The people's line would have come three seconds before.
  await expect.poll(() => told(bridge), { timeout: 15_000 }).toHaveLength(1);
  expect(texts(bridge)).toHaveLength(1);
});

it("BRIDGE_NOTICES_GIVEN_UP: off, nobody is told that a reply was given up", async () => {
  const bridge = await bridgeWith({ BRIDGE_NOTICES_GIVEN_UP: "false" });
  const inReplyTo = await said(bridge, "hallo");
  bridge.dingtalk.faults.api("sendBySession", { kind: "answer", body: { errcode: 400_102, errmsg: "?" }, count: 1 });
  bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "notFound", count: 1 });
  expect(await send(bridge, "user:staff001", "eins", { inReplyTo })).toMatchObject({ status: "dead" });
  expect(await send(bridge, "user:staff001", "zwei", { inReplyTo })).toMatchObject({ status: "delivered" });
  expect(texts(bridge)).toEqual(["zwei"]);
});

it("BRIDGE_NOTICES_QUOTA_USED_UP: off, nobody is told that the month's quota is used up", async () => {
  const bridge = await bridgeWith({ BRIDGE_NOTICES_QUOTA_USED_UP: "false" });
  bridge.dingtalk.faults.exhaust("units");
  await said(bridge, "zu viel");
  await send(bridge, "user:staff001", "per API");
  expect(texts(bridge)).toEqual(["per API"]);
});

it("BRIDGE_NOTICES_PERSON_LIMIT: off, nobody is told of the limit of the day", async () => {
  const bridge = await bridgeWith({ BRIDGE_NOTICES_PERSON_LIMIT: "false", BRIDGE_LIMITS_PER_PERSON_PER_DAY: "1" });
  await said(bridge, "eins");
  await said(bridge, "zwei");
  await send(bridge, "user:staff001", "reply");
  expect([taken(bridge), texts(bridge)]).toEqual([["eins"], ["reply"]]);
});

it("BRIDGE_NOTICES_FILE_REFUSED: off, nobody is told that a file could not be delivered", async () => {
  for (const on of ["true", "false"]) {
    const bridge = await bridgeWith({ BRIDGE_NOTICES_FILE_REFUSED: on });
    await said(bridge, "hallo");
    const media = { url: "http://127.0.0.1:1/a.xlsx" };
    const body = { to: "user:staff001", content: { type: "file", media, fileName: "a.xlsx" } };
    const refused = await bridge.api("POST", "/v1/messages", body, { prefer: "wait=10" });
    expect(await refused.json()).toMatchObject({ status: "dead" });
    await send(bridge, "user:staff001", "after");
    const line = `${NOTICES.fileRefused["zh-CN"]}\na.xlsx`;
    expect(texts(bridge)).toEqual(on === "true" ? [line, "after"] : ["after"]);
  }
});

it("BRIDGE_LIMITS_EXEMPT: those are not limited", async () => {
  const bridge = await bridgeWith({ BRIDGE_LIMITS_EXEMPT: "staff002", BRIDGE_LIMITS_PER_PERSON_PER_DAY: "1" });
  for (const from of ["staff001", "staff002"]) for (const n of [1, 2]) await said(bridge, `${from} ${n}`, from);
  await expect.poll(() => taken(bridge).toSorted()).toEqual(["staff001 1", "staff002 1", "staff002 2"]);
});

it("BRIDGE_ALERTS_DEAD_LETTER: off, operators are not told of dead letters", async () => {
  const bridge = await bridgeWith(
    { ...OPERATOR, BRIDGE_ALERTS_DEAD_LETTER: "false", BRIDGE_ALERTS_GATEWAY_AWAY_AFTER: "0" },
    { overrides: SOON },
  );
  operatorOf(bridge);
  await send(bridge, "user:nobody", "?");
  expect(await deadLetters(bridge)).toEqual(["recipient_unknown"]);
  await bridge.gateway.crash();
  await expect.poll(() => told(bridge).at(-1)).toMatch(/gateway has taken no messages/);
  expect(told(bridge)).toHaveLength(1);
});

it("BRIDGE_ALERTS_GATEWAY_AWAY: off, operators are not told that the gateway is away", async () => {
  const bridge = await bridgeWith(
    { ...OPERATOR, BRIDGE_ALERTS_GATEWAY_AWAY: "false", BRIDGE_ALERTS_GATEWAY_AWAY_AFTER: "0" },
    { overrides: SOON },
  );
  operatorOf(bridge);
  await bridge.gateway.crash();
  await expect.poll(() => bridge.app.health().components["gateway"]?.status).not.toBe("ok");
  await lastAlert(bridge);
  expect(told(bridge)).toHaveLength(1);
});

it("BRIDGE_ALERTS_QUOTA: off, operators are not told that the month's budget runs out", async () => {
  const bridge = await bridgeWith(
    { ...OPERATOR, BRIDGE_ALERTS_QUOTA: "false", BRIDGE_QUOTA_CALLS: "5" },
    { overrides: SOON },
  );
  operatorOf(bridge);
  for (let n = 0; n < 4; n += 1) await send(bridge, "user:staff002", `${n}`);
  await lastAlert(bridge);
  expect(told(bridge)).toHaveLength(1);
});

it("BRIDGE_QUOTA_UNITS: 80 % of so many, and operators are told", async () => {
  const bridge = await bridgeWith({ ...OPERATOR, BRIDGE_QUOTA_UNITS: "5" }, { overrides: SOON });
  operatorOf(bridge);
  for (let n = 0; n < 4; n += 1) await said(bridge, `${n}`);
  await expect.poll(() => told(bridge)).toEqual([expect.stringContaining("80 % of the Webhook & Stream units")]);
});

it("BRIDGE_ALERTS_CREDENTIALS: off, operators are not told that DingTalk refuses an account", async () => {
  const bridge = await startTwo({
    env: { ...OPERATOR, BRIDGE_ALERTS_CREDENTIALS: "false" },
    overrides: { ...SOON, streamTimings: { credentialsRetryMs: 20, backoffBaseMs: 10, backoffCapMs: 20 } },
    gateway: { mode: { kind: "silent" } },
  });
  onTestFinished(() => bridge.close());
  operatorOf(bridge);
  bridge.dingtalk.faults.open({ kind: "error", error: "authFailed", app: SUPPORT.appKey });
  bridge.dingtalk.faults.abort({ app: SUPPORT.appKey });
  await expect.poll(() => bridge.app.health().components["stream:support"]?.code).toBe("stream_bad_credentials");
  await send(bridge, "user:nobody", "?", { account: "main" });
  await expect.poll(() => told(bridge).at(-1)).toMatch(/could not be delivered/);
  expect(told(bridge)).toHaveLength(1);
});

it("BRIDGE_ALERTS_SECOND_CONSUMER: off, operators are not told of a second program", async () => {
  const bridge = await bridgeWith(
    { ...OPERATOR, BRIDGE_ALERTS_SECOND_CONSUMER: "false" },
    { overrides: { ...SOON, streamTimings: { backoffBaseMs: 5, backoffCapMs: 10 } } },
  );
  operatorOf(bridge);
  bridge.dingtalk.faults.connect({ kind: "close", how: 1006 });
  bridge.dingtalk.faults.abort();
  await expect.poll(() => bridge.app.health().components["stream:main"]?.code).toBe("stream_refused");
  await lastAlert(bridge);
  expect(told(bridge)).toHaveLength(1);
});
