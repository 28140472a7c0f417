import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { publicTemplate as templateId } from "../../src/sandbox/dingtalk-card-knobs.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { openDirect, openGroup, send, sendContent } from "../support/outbound.ts";

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { BRIDGE_LIMITS_GROUP_PER_MINUTE: "1000" },
    dingtalk: { knobs: { groupPerMinute: 0 } },
  });
  await openDirect(bridge);
});
afterAll(() => bridge.close());

const shown = () => bridge.dingtalk.cards.at(-1);
const make = (extra: object = {}) =>
  sendContent(bridge, { type: "card", templateId, params: { title: "一" }, ...extra });

describe("a card", () => {
  it("is created in a direct conversation, its values as strings, named after its message", async () => {
    const params = { title: "一", count: 3, done: false, list: [{ a: 1 }], map: { b: "二" } };
    const state = await make({ params, privateParams: { staff001: { mine: true } }, summary: "一张卡片" });
    expect(state).toMatchObject({ status: "delivered", parts: [{ route: "open-api" }] });
    expect(state.outTrackId).toBe(state.id.replace("out_", "br_"));
    expect(shown()).toMatchObject({
      outTrackId: state.outTrackId,
      templateId,
      spaceType: "IM_ROBOT",
      userId: "staff001",
      params: { title: "一", count: "3", done: "false", list: '[{"a":1}]', map: '{"b":"二"}' },
      privateParams: { staff001: { mine: "true" } },
      callbackType: "STREAM",
      delivered: true,
    });
    expect(Object.values(shown()?.summary ?? {})).toContain("一张卡片");
    expect(state.parts[0]?.receipt).toBe(shown()?.carrierId);
  });

  it("is created in a group and @-s people", async () => {
    const group = await openGroup(bridge);
    await send(bridge, {
      to: `conversation:${group}`,
      content: { type: "card", templateId, params: { title: "群" } },
      mentions: { userIds: ["staff002"] },
    });
    expect(shown()).toMatchObject({ spaceType: "IM_GROUP", conversationId: group, cardAtUserIds: ["staff002"] });
  });

  it("is updated by name; what is not named stays", async () => {
    const { outTrackId } = await make({ params: { title: "一", body: "bleibt" } });
    const update = await sendContent(bridge, { type: "card", outTrackId, params: { title: "二", n: 2 } });
    expect(update).toMatchObject({ status: "delivered", outTrackId });
    expect(bridge.dingtalk.card(outTrackId ?? "")?.params).toMatchObject({ title: "二", body: "bleibt", n: "2" });
    expect(bridge.dingtalk.cards.filter((card) => card.outTrackId === outTrackId)).toHaveLength(1);
  });

  it("is updated after it was created, also when both are accepted at once", async () => {
    bridge.dingtalk.faults.api("card/instances/createAndDeliver", { kind: "error", error: "systemError", count: 1 });
    const content = { type: "card", templateId, params: { title: "zuerst" } };
    const accepted = await bridge.api("POST", "/v1/messages", { to: "user:staff001", content });
    const { outTrackId } = (await accepted.json()) as { outTrackId: string };
    const update = await sendContent(bridge, { type: "card", outTrackId, params: { title: "danach" } });
    expect(update.status).toBe("delivered");
    expect(bridge.dingtalk.card(outTrackId)?.params).toMatchObject({ title: "danach" });
  });

  it("appears once when the answer to its creation is lost", async () => {
    bridge.dingtalk.faults.api("card/instances/createAndDeliver", { kind: "reset", executed: true, count: 1 });
    const state = await make({ params: { title: "verloren" } });
    expect(state).toMatchObject({ status: "delivered" });
    expect(state.uncertain).toBeUndefined();
    const cards = bridge.dingtalk.cards.filter(({ params }) => params["title"] === "verloren");
    expect(cards).toMatchObject([{ deliveries: 1 }]);
  });

  it("without a template is a dead letter that says so", async () => {
    const state = await make({ templateId: "00000000-0000-0000-0000-000000000000.schema" });
    expect(state).toMatchObject({ status: "dead", error: { code: "card_template_missing" } });
  });

  it("costs one call each time, not a webhook unit", async () => {
    const calls = async () => {
      const metrics = await (await bridge.api("GET", "/metrics")).text();
      return Number(/dingtalk_bridge_quota_used\{[^}]*budget="calls"[^}]*\} (\d+)/.exec(metrics)?.[1]);
    };
    const before = await calls();
    const { outTrackId } = await make();
    await sendContent(bridge, { type: "card", outTrackId, params: { title: "neu" } });
    expect(await calls()).toBe(before + 2);
  });
});

describe("an update is refused at once", () => {
  const update = async (outTrackId: string | undefined, to = "user:staff001"): Promise<unknown> => {
    const content = { type: "card", outTrackId, params: { title: "x" } };
    const response = await bridge.api("POST", "/v1/messages", { to, content });
    return { status: response.status, ...((await response.json()) as object) };
  };

  it("for a card that is none of the bridge's", async () => {
    for (const outTrackId of ["br_00000000-0000-4000-8000-000000000000", "somebody-else"]) {
      expect(await update(outTrackId)).toMatchObject({
        status: 422,
        code: "card_unknown",
        detail: expect.stringContaining("content.outTrackId"),
      });
    }
  });

  it("for a message that is no card, and for a card that never appeared", async () => {
    const text = await sendContent(bridge, { type: "text", text: "keine" });
    expect(await update(text.id.replace("out_", "br_"))).toMatchObject({ code: "card_unknown" });
    const dead = await make({ templateId: "none.schema" });
    expect(await update(dead.outTrackId)).toMatchObject({ code: "card_unknown" });
  });

  it("for a card in another conversation; the same one by another name is right", async () => {
    const { outTrackId } = await make();
    expect(await update(outTrackId, "user:staff002")).toMatchObject({ code: "card_unknown" });
    const { conversationId } = bridge.dingtalk.card(outTrackId ?? "") ?? {};
    expect(await update(outTrackId, `conversation:${conversationId}`)).toMatchObject({ status: "queued" });
  });
});
