import { afterEach, expect, it } from "vitest";
import type { Clock } from "../../src/ops/clock.ts";
import { publicTemplate as templateId } from "../../src/sandbox/dingtalk-card-knobs.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { type State, openDirect, openGroup, send, sendContent, uploadFile } from "../support/outbound.ts";
import { pngOf } from "../support/sample-files.ts";

let bridge: TestBridge;
let aheadMs = 0;
const clock: Clock = { now: () => Date.now() + aheadMs, monotonic: () => performance.now() };

async function start(): Promise<void> {
  aheadMs = 0;
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, overrides: { clock } });
}
afterEach(() => bridge.close());

interface Answer extends State {
  code?: string;
  detail?: string;
}

async function recall(id: string): Promise<{ status: number; body: Answer; retryAfter: string | null }> {
  const response = await bridge.api("DELETE", `/v1/messages/${id}`);
  const retryAfter = response.headers.get("retry-after");
  return { status: response.status, body: (await response.json()) as Answer, retryAfter };
}

const text = (value: string) => ({ type: "text", text: value });
const recalled = { status: 200, body: { status: "cancelled", error: { code: "recalled" } } };

it("takes back a direct message, every part of it, and says the same when asked again", async () => {
  await start();
  const long = `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`;
  const { id, parts } = await sendContent(bridge, text(long));
  expect(parts).toHaveLength(2);
  expect(await recall(id)).toMatchObject(recalled);
  expect(bridge.dingtalk.sent).toMatchObject([{ recalled: true }, { recalled: true }]);
  const calls = bridge.dingtalk.calls({ api: "otoMessages/batchRecall" }).length;
  expect(await recall(id)).toMatchObject(recalled);
  expect(bridge.dingtalk.calls({ api: "otoMessages/batchRecall" })).toHaveLength(calls);
  const shown = await (await bridge.api("GET", `/v1/messages/${id}`)).json();
  expect(shown).toMatchObject(recalled.body);
});

it("takes back a file in a group, and is counted", async () => {
  await start();
  const to = `conversation:${await openGroup(bridge)}`;
  const id = await uploadFile(bridge, pngOf("recalled"), "r.png");
  const calls = async () => {
    const metrics = await (await bridge.api("GET", "/metrics")).text();
    return Number(/dingtalk_bridge_quota_used\{[^}]*budget="calls"[^}]*\} (\d+)/.exec(metrics)?.[1]);
  };
  const state = await send(bridge, { to, content: { type: "image", media: { id } } });
  const before = await calls();
  expect(await recall(state.id)).toMatchObject(recalled);
  expect(bridge.dingtalk.sent).toMatchObject([{ route: "group", recalled: true }]);
  expect(await calls()).toBe(before + 1);
});

it("leaves what went by webhook, and says why", async () => {
  await start();
  await openDirect(bridge);
  const { id } = await sendContent(bridge, text("per Webhook"));
  expect(await recall(id)).toMatchObject({
    status: 409,
    body: { code: "already_sent", detail: expect.stringContaining("webhook") },
  });
  expect((await bridge.api("GET", `/v1/messages/${id}`)).status).toBe(200);
});

it("leaves a card that was changed: the change is all there is to take back", async () => {
  await start();
  const card = await sendContent(bridge, { type: "card", templateId, params: { title: "一" } });
  const update = await sendContent(bridge, { type: "card", outTrackId: card.outTrackId, params: { title: "二" } });
  expect(await recall(update.id)).toMatchObject({
    status: 409,
    body: { code: "already_sent", detail: expect.stringContaining("card") },
  });
});

it("leaves what is older than 24 hours without asking DingTalk", async () => {
  await start();
  const { id } = await sendContent(bridge, text("gestern"));
  aheadMs = 24 * 60 * 60_000 + 1;
  expect(await recall(id)).toMatchObject({
    status: 409,
    body: { code: "already_sent", detail: expect.stringContaining("24 hours") },
  });
  expect(bridge.dingtalk.calls({ api: "otoMessages/batchRecall" })).toEqual([]);
});

it("leaves what DingTalk does not take back", async () => {
  await start();
  const { id } = await sendContent(bridge, text("zu spät"));
  bridge.dingtalk.setKnobs({ recallWindowMs: 1 });
  expect(await recall(id)).toMatchObject({ status: 409, body: { code: "not_cancellable" } });
  const shown = await (await bridge.api("GET", `/v1/messages/${id}`)).json();
  expect(shown).toMatchObject({ status: "delivered" });
});

it("changes nothing while DingTalk cannot be asked, and goes on where it ended", async () => {
  await start();
  const long = `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`;
  const { id } = await sendContent(bridge, text(long));
  bridge.dingtalk.faults.api("otoMessages/batchRecall", { kind: "error", error: "unavailable", skip: 1, count: 1 });
  const failed = await recall(id);
  expect(failed).toMatchObject({ status: 503, body: { code: "dingtalk_unavailable" } });
  expect(failed.retryAfter).not.toBeNull();
  expect(await (await bridge.api("GET", `/v1/messages/${id}`)).json()).toMatchObject({ status: "delivered" });
  expect(await recall(id)).toMatchObject(recalled);
  expect(bridge.dingtalk.sent).toMatchObject([{ recalled: true }, { recalled: true }]);
  // The part that had gone is not asked for again.
  expect(bridge.dingtalk.calls({ api: "otoMessages/batchRecall" })).toHaveLength(3);
});

it.each([
  ["a person", "taken"],
  ["a person", "refused"],
  ["a group", "refused"],
] as const)(
  "goes on with the rest after a restart: to %s, a second recall of one part is %s",
  async (whom, recallAgain) => {
    await start();
    // No webhook that is worth a try.
    bridge.dingtalk.setKnobs({ webhookTtlMs: 1_000 });
    const to = whom === "a group" ? `conversation:${await openGroup(bridge)}` : "user:staff001";
    const { id, parts } = await send(bridge, { to, content: text(`${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`) });
    expect(parts).toHaveLength(2);
    const api = whom === "a group" ? "groupMessages/recall" : "otoMessages/batchRecall";
    bridge.dingtalk.faults.api(api, { kind: "error", error: "unavailable", skip: 1, count: 1 });
    expect(await recall(id)).toMatchObject({ status: 503 });
    await bridge.restart();
    bridge.dingtalk.setKnobs({ recallAgain });
    expect(await recall(id)).toMatchObject(recalled);
    expect(bridge.dingtalk.sent.map((one) => one.recalled)).toEqual(bridge.dingtalk.sent.map(() => true));
  },
);

it("goes on with the rest when the answer to the first was lost", async () => {
  await start();
  bridge.dingtalk.setKnobs({ recallAgain: "refused" });
  const { id } = await sendContent(bridge, text(`${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`));
  bridge.dingtalk.faults.api("otoMessages/batchRecall", { kind: "reset", executed: true, count: 1 });
  expect((await recall(id)).status).toBe(503);
  expect(await recall(id)).toMatchObject(recalled);
});

it("asked for twice at once is one recall", async () => {
  await start();
  const { id } = await sendContent(bridge, text("doppelt"));
  expect(await Promise.all([recall(id), recall(id)])).toMatchObject([recalled, recalled]);
  expect(bridge.dingtalk.calls({ api: "otoMessages/batchRecall" })).toHaveLength(1);
});

it("cancels what still waits, as before", async () => {
  await start();
  bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable" });
  const accept = async (value: string): Promise<string> => {
    const response = await bridge.api("POST", "/v1/messages", { to: "user:staff001", content: text(value) });
    return ((await response.json()) as { id: string }).id;
  };
  await accept("erste");
  const second = await accept("zweite");
  const { status, body } = await recall(second);
  expect(status).toBe(200);
  expect(body.status).toBe("cancelled");
  expect(body.error).toBeUndefined();
});
