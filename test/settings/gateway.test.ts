import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { APP, TOKEN } from "../support/bridge.ts";
import { startScriptedGateway } from "../support/scripted-gateway.ts";
import { MINUTE, bridgeWith, deadLetters, exchange, movableClock, said, send, taken } from "./support.ts";

const MAIN = { id: "main", appKey: APP.appKey };
const SHARED = "a-token-that-both-sides-share";

it("BRIDGE_TOKEN: is what both directions ask for, instead of the derived one", async () => {
  const bridge = await bridgeWith({ BRIDGE_TOKEN: SHARED }, { gateway: { accounts: [{ ...MAIN, token: SHARED }] } });
  const status = async (token: string): Promise<number> =>
    (await bridge.api("GET", "/v1/status", undefined, { authorization: `Bearer ${token}` })).status;
  expect([await status(SHARED), await status(TOKEN)]).toEqual([200, 401]);
  await said(bridge, "in");
  await expect.poll(() => taken(bridge)).toEqual(["in"]);
});

it("BRIDGE_GATEWAY_URL: is where messages go", async () => {
  const other = await startScriptedGateway(MAIN, () => ({ status: 200 }));
  onTestFinished(() => other.close());
  const bridge = await bridgeWith({ BRIDGE_GATEWAY_URL: other.url });
  await said(bridge, "elsewhere");
  await expect.poll(() => other.posts.map(({ text }) => text)).toEqual(["elsewhere"]);
  expect(bridge.gateway.received).toEqual([]);
});

it("BRIDGE_GATEWAY_EVENTS_PATH: is the path there", async () => {
  const paths: string[] = [];
  const other = await startScriptedGateway(MAIN, (_text, _envelope, path) => {
    paths.push(path);
    return { status: 200 };
  });
  onTestFinished(() => other.close());
  const bridge = await bridgeWith({ BRIDGE_GATEWAY_URL: other.url, BRIDGE_GATEWAY_EVENTS_PATH: "/in/here" });
  await said(bridge, "in");
  await expect.poll(() => paths).toEqual(["/in/here"]);
});

it("BRIDGE_GATEWAY_TIMEOUT: a gateway that does not answer is asked again", async () => {
  const bridge = await bridgeWith({ BRIDGE_GATEWAY_TIMEOUT: "100ms" }, { gateway: { mode: { kind: "hang" } } });
  await said(bridge, "in");
  await expect.poll(() => bridge.gateway.received.length, { timeout: 10_000 }).toBeGreaterThan(1);
  bridge.gateway.mode = { kind: "silent" };
  await expect.poll(() => taken(bridge), { timeout: 10_000 }).toEqual(["in"]);
});

it("BRIDGE_GATEWAY_CONCURRENCY: so many are asked at a time, and the next when one is answered", async () => {
  const answered = Promise.withResolvers<void>();
  const other = await startScriptedGateway(MAIN, () => answered.promise.then(() => ({ status: 200 })));
  onTestFinished(() => other.close());
  const bridge = await bridgeWith({ BRIDGE_GATEWAY_URL: other.url, BRIDGE_GATEWAY_CONCURRENCY: "2" });
  for (const from of ["staff001", "staff002", "staff003"]) await said(bridge, from, from);
  await exchange(bridge);
  await expect.poll(() => other.posts.length).toBe(2);
  answered.resolve();
  await expect.poll(() => other.posts.length).toBe(6);
});

it("BRIDGE_GATEWAY_INCLUDE_RAW: DingTalk's own message is in the envelope, or not", async () => {
  for (const on of ["true", "false"]) {
    const bridge = await bridgeWith({ BRIDGE_GATEWAY_INCLUDE_RAW: on });
    await said(bridge, "raw");
    await expect.poll(() => bridge.gateway.taken.length).toBe(1);
    const [envelope] = bridge.gateway.taken;
    const raw = envelope?.type === "message" ? envelope.message.raw : undefined;
    if (on === "true") expect(raw).toMatchObject({ msgtype: "text", text: { content: "raw" } });
    else expect(raw).toBeUndefined();
  }
});

it("BRIDGE_INBOUND_MAX_AGE: what the gateway has not taken by then is a dead letter", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith(
    { BRIDGE_INBOUND_MAX_AGE: "1m" },
    { overrides: { clock }, gateway: { mode: { kind: "answer", status: 503, retryAfterS: 0 } } },
  );
  await said(bridge, "too late");
  await expect.poll(() => bridge.gateway.received.length).toBeGreaterThan(0);
  expect(await deadLetters(bridge)).toEqual([]);
  move(bridge, 2 * MINUTE);
  await expect.poll(() => deadLetters(bridge), { timeout: 10_000 }).toEqual(["too_old"]);
});

it("BRIDGE_DELIVERY_MAX_AGE: what is not delivered by then is a dead letter", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_DELIVERY_MAX_AGE: "1m" }, { overrides: { clock } });
  bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "systemError" });
  const body = { to: "user:staff001", content: { type: "text", text: "too late" } };
  expect((await bridge.api("POST", "/v1/messages", body)).status).toBe(202);
  await expect.poll(() => bridge.dingtalk.calls({ api: "oToMessages/batchSend" }).length).toBeGreaterThan(0);
  move(bridge, 2 * MINUTE);
  await expect.poll(() => deadLetters(bridge), { timeout: 10_000 }).toEqual(["too_old"]);
});

it("BRIDGE_DELIVERY_CONCURRENCY: so many replies are under way at a time", async () => {
  const bridge = await bridgeWith({ BRIDGE_DELIVERY_CONCURRENCY: "1" });
  bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "slow", delayMs: 1_000, count: 2 });
  const sent = ["staff001", "staff002"].map((one) => send(bridge, `user:${one}`, one));
  await Promise.all(sent);
  const [first, second] = bridge.dingtalk.requests.filter(({ api }) => api === "oToMessages/batchSend");
  expect(second?.at).toBeGreaterThanOrEqual((first?.at ?? Infinity) + (first?.durationMs ?? 0));
});

it("BRIDGE_DATA_DIR: is where the database is", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bridge-settings-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  await bridgeWith({ BRIDGE_DATA_DIR: directory });
  expect(existsSync(join(directory, "bridge.db"))).toBe(true);
});
