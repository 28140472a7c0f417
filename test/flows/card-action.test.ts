import { Compile } from "typebox/compile";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { type CardActionEnvelope, EnvelopeSchema } from "../../src/domain/envelope.ts";
import { CARD_TOPIC } from "../../src/flows/card-actions.ts";
import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import type { PushHandle } from "../../src/sandbox/dingtalk-types.ts";
import { type TestBridge, APP, startBridge } from "../support/bridge.ts";

const schema = Compile(EnvelopeSchema);

let bridge: TestBridge;
afterEach(() => bridge.close());

async function start(options: Parameters<typeof startBridge>[0] = {}): Promise<void> {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, ...options });
}

/** As documented (dingtalk-protocol.md §4.6). */
const action = (fields: object = {}) => ({
  type: "actionCallback",
  outTrackId: "br_1",
  corpId: "dingcorp",
  userId: "staff001",
  userIdType: 1,
  spaceId: "staff001",
  spaceType: "IM_ROBOT",
  extension: "{}",
  content: JSON.stringify({ cardPrivateData: { actionIds: ["stop"], params: { reason: "enough" } } }),
  ...fields,
});

const push = (data: unknown): Promise<PushHandle> =>
  bridge.dingtalk.push({ type: "CALLBACK", topic: CARD_TOPIC, data });

const actions = (): CardActionEnvelope[] =>
  bridge.gateway.taken.flatMap((envelope) => (envelope.type === "card.action" ? [envelope] : []));

async function nth(n: number): Promise<CardActionEnvelope> {
  await expect.poll(() => actions().length).toBeGreaterThanOrEqual(n);
  const envelope = actions()[n - 1];
  if (!envelope) throw new Error("no action");
  return envelope;
}

const deadLetters = async (): Promise<unknown> => (await bridge.api("GET", "/v1/dead-letters")).json();

describe("a card action", () => {
  it("is subscribed, acked with an empty response, and arrives as an envelope", async () => {
    await start();
    expect(bridge.dingtalk.connections[0]?.subscriptions).toContainEqual({ type: "CALLBACK", topic: CARD_TOPIC });
    await (await bridge.dingtalk.say({ text: "hello" })).acked();
    const handle = await push(action());
    expect(await handle.acked()).toMatchObject({ code: 200, data: { response: {} } });
    const envelope = await nth(1);
    const conversation = bridge.gateway.taken.flatMap((one) =>
      one.type === "message" ? [one.message.conversation] : [],
    );
    expect(envelope).toMatchObject({
      version: 1,
      id: `main:${handle.messageIds[0]}`,
      account: "main",
      robotCode: APP.appKey,
      attempt: 1,
      action: { outTrackId: "br_1", actionId: "stop", params: { reason: "enough" }, user: "staff001" },
      reply: { to: "user:staff001", inReplyTo: `main:${handle.messageIds[0]}` },
    });
    expect(envelope.action.conversation).toEqual(conversation[0]);
    expect(schema.Errors(envelope)).toEqual([]);
  });

  it("in a group names the group; a reply goes there", async () => {
    await start();
    await (await bridge.dingtalk.say({ text: "hello", group: "测试群" })).acked();
    await expect.poll(() => bridge.gateway.taken.length).toBe(1);
    const [first] = bridge.gateway.taken;
    if (first?.type !== "message") throw new Error("not a message");
    const { id } = first.message.conversation;
    await push(action({ spaceId: id, spaceType: "IM_GROUP" }));
    await push(action({ spaceId: id, spaceType: "IM" }));
    for (const n of [1, 2]) {
      const envelope = await nth(n);
      expect(envelope.action.conversation).toEqual({ kind: "group", id, title: "测试群" });
      expect(envelope.reply?.to).toBe(`conversation:${id}`);
    }
  });

  it("of a person and a group that never wrote arrives as well", async () => {
    await start();
    await push(action());
    expect(await nth(1)).toMatchObject({ reply: { to: "user:staff001" } });
    expect(actions()[0]?.action).not.toHaveProperty("conversation");
    await push(action({ spaceId: "cidNew==", spaceType: "IM_GROUP" }));
    expect((await nth(2)).action.conversation).toEqual({ kind: "group", id: "cidNew==" });
    await push(action({ userId: undefined, spaceId: undefined, spaceType: undefined }));
    const nobody = await nth(3);
    expect(nobody.action).toMatchObject({ outTrackId: "br_1", user: "unknown" });
    expect(nobody).not.toHaveProperty("reply");
    for (const envelope of actions()) expect(schema.Errors(envelope)).toEqual([]);
  });

  it("goes ahead of a message of its conversation that waits", async () => {
    await start();
    const gate = Promise.withResolvers<void>();
    const data = (): Readable =>
      Readable.from(
        (async function* () {
          await gate.promise;
          yield Buffer.from("slow");
        })(),
      );
    await (await bridge.dingtalk.say({ text: "known" })).acked();
    await (await bridge.dingtalk.say({ msgtype: "picture", file: { data, bytes: 4 } })).acked();
    await (await push(action())).acked();
    await expect.poll(() => bridge.gateway.taken.map(({ type }) => type)).toEqual(["message", "card.action"]);
    gate.resolve();
    await expect
      .poll(() => bridge.gateway.taken.map(({ type }) => type))
      .toEqual(["message", "card.action", "message"]);
  });

  it.each(["content", "object", "value", "topLevel", "actionData"] as const)(
    "a button of a card that the bridge made, in the shape %s",
    async (cardActionShape) => {
      await start({ dingtalk: { knobs: { cardActionShape } } });
      await (await bridge.dingtalk.say({ text: "hello" })).acked();
      const content = { type: "card", templateId: publicTemplate, params: { msgContent: "选择" } };
      const sent = await bridge.api("POST", "/v1/messages", { to: "user:staff001", content }, { prefer: "wait=10" });
      expect(sent.status).toBe(200);
      const outTrackId = bridge.dingtalk.cards[0]?.outTrackId ?? "";
      await (await bridge.dingtalk.press({ outTrackId, actionId: "agree", params: { n: 1 } })).acked();
      expect(await nth(1)).toMatchObject({
        action: { outTrackId, actionId: "agree", params: { n: 1 }, user: "staff001", conversation: { kind: "direct" } },
        reply: { to: "user:staff001" },
      });
      expect(bridge.dingtalk.problems).toEqual([]);
    },
  );

  it("is not acked while it cannot be stored", async () => {
    await start({ overrides: { watch: { everyMs: 50, freeBytes: () => Promise.resolve(1_024) } } });
    const handle = await push(action());
    await expect(handle.acked(300)).rejects.toThrow("ack");
    expect(bridge.gateway.received).toHaveLength(0);
  });

  it("that DingTalk repeats arrives once, and counts once", async () => {
    await start({ dingtalk: { knobs: { redeliverSameMessageId: true } } });
    bridge.dingtalk.faults.duplicateAcked(1, 1);
    await (await push(action())).acked();
    await expect.poll(() => bridge.dingtalk.pushes.length).toBe(2);
    await expect.poll(() => bridge.dingtalk.acks.length).toBe(2);
    await nth(1);
    expect(bridge.gateway.received).toHaveLength(1);
    const metrics = await (await bridge.api("GET", "/metrics")).text();
    expect(metrics).toMatch(/quota_used\{[^}]*budget="units"[^}]*\} 1\n/);
    expect(metrics).toMatch(/inbox_duplicates_total\{account="main"\} 1\n/);
  });

  it("outlasts a gateway that is away and a restart, under one id", async () => {
    await start({ gateway: { mode: { kind: "answer", status: 503 } } });
    const handle = await push(action());
    await handle.acked();
    await expect.poll(() => bridge.gateway.received.length).toBeGreaterThanOrEqual(1);
    await bridge.restart();
    bridge.gateway.mode = { kind: "silent" };
    expect(await nth(1)).toMatchObject({ id: `main:${handle.messageIds[0]}` });
    expect(new Set(bridge.gateway.received.map(({ envelope }) => envelope.id)).size).toBe(1);
  });

  it.each([
    ["no JSON", "{"],
    ["no card", action({ outTrackId: undefined })],
  ])("that cannot be read is acked and kept as a dead letter: %s", async (_name, data) => {
    await start();
    const handle = await push(data);
    expect((await handle.acked()).code).toBe(200);
    expect(await deadLetters()).toMatchObject({ deadLetters: [{ kind: "unreadable", error: { code: "unreadable" } }] });
    expect(bridge.gateway.received).toHaveLength(0);
  });
});
