import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SEE_NEXT_MESSAGE } from "../../src/domain/notices.ts";
import type { ApiFault } from "../../src/sandbox/dingtalk-faults.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import {
  QUICK,
  appeared,
  cardCalls,
  cardOf,
  ended,
  finish,
  messages,
  open,
  put,
  settled,
  shownOn,
} from "./stream-support.ts";

const SEE_NEXT = SEE_NEXT_MESSAGE["zh-CN"];
const CREATE = "card/instances/createAndDeliver";
const STREAM = "card/streaming";

let bridge: TestBridge;
beforeEach(async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: QUICK,
    overrides: { replyTimings: { lateCreationMs: 100 } },
  });
});
afterEach(() => bridge.close());

const fault = (api: string, what: ApiFault): void => bridge.dingtalk.faults.api(api, what);
const refusal = (code: string): ApiFault => ({ kind: "answer", status: 400, body: { code, message: "no" } });
const health = async () =>
  (await (await bridge.api("GET", "/healthz")).json()) as { components: Record<string, object>; mends: string[] };
const said = (text: string): number => bridge.logs.lines.filter(({ msg }) => String(msg).includes(text)).length;

/** A reply that is streamed and finished; what is told in between happens once it has begun. */
async function reply(texts: string[], final: string, extra: object = {}): Promise<string> {
  const { id } = await open(bridge, extra);
  for (const [seq, text] of texts.entries()) await put(bridge, id, seq, text);
  await finish(bridge, id, final);
  return id;
}

describe("the creation of a card", () => {
  it("whose answer is lost is asked for again: one card, and it ends", async () => {
    fault(CREATE, { kind: "reset", executed: true, count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    await put(bridge, id, 1, "一二");
    await expect.poll(() => shownOn(bridge, id), { timeout: 10_000 }).toBe("一二");
    await finish(bridge, id, "一二三");
    expect(await ended(bridge, id)).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
  });

  it("whose answer is lost when the reply ends: the text is sent, and a card that is there ends", async () => {
    fault(CREATE, { kind: "reset", executed: true, count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("no answer to the creation")).toBe(1);
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe(SEE_NEXT);
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });

  it("is under way when the reply ends", async () => {
    fault(CREATE, { kind: "slow", delayMs: 300, count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => bridge.dingtalk.requests.some(({ api }) => api === CREATE)).toBe(true);
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二三");
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
    expect(cardCalls(bridge)).toEqual(["instances/createAndDeliver", "streaming"]);
  });

  it.each([true, false])("is under way when the reply ends, and its answer is lost (made: %s)", async (executed) => {
    fault(CREATE, { kind: "reset", executed, delayMs: 300, count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => bridge.dingtalk.requests.some(({ api }) => api === CREATE)).toBe(true);
    await finish(bridge, id, "一二三");
    expect(await ended(bridge, id)).toMatchObject({ params: { msgContent: "一二三" }, deliveries: 1 });
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
  });

  it("is under way when a long reply ends, and is refused: all of it is sent in order", async () => {
    fault(CREATE, { ...refusal("param.invalid"), delayMs: 300, count: 1 });
    const long = Array.from({ length: 200 }, (_, index) => `第${index}段:${"文".repeat(30)}`).join("\n\n");
    const { id } = await open(bridge);
    await put(bridge, id, 0, "第");
    await expect.poll(() => bridge.dingtalk.requests.some(({ api }) => api === CREATE)).toBe(true);
    await finish(bridge, id, long);
    await settled(bridge);
    expect(messages(bridge).join("\n\n")).toBe(long);
  });

  it.each([true, false])("that DingTalk fails at leaves no card that goes on for ever (made: %s)", async (executed) => {
    fault(CREATE, { kind: "error", error: "systemError", executed, count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("no card: the answer is sent as a message")).toBe(1);
    await finish(bridge, id, "一二三");
    expect(await open(bridge)).toMatchObject({ mode: "buffered" });
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
    expect(bridge.dingtalk.cards.map(({ flowStatus }) => flowStatus)).toEqual(executed ? ["3"] : []);
  });

  it("that is throttled is made later", async () => {
    fault(CREATE, { kind: "error", error: "qpsLimit", count: 1 });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    await finish(bridge, id, "一二");
    await ended(bridge, id);
    expect(messages(bridge)).toEqual([]);
  });

  it.each(["SYSTEM_ERROR", "spaceId is illegal"])("that reaches nobody (%s) is no card", async (cardDeliverError) => {
    bridge.dingtalk.setKnobs({ cardDeliverError });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => bridge.dingtalk.requests.some(({ api }) => api === CREATE)).toBe(true);
    await expect.poll(() => said("no card: the answer is sent as a message")).toBe(1);
    await finish(bridge, id, "一二");
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二"]);
    expect(cardOf(bridge, id)?.delivered).toBe(false);
    expect(await open(bridge)).toMatchObject({ mode: "buffered" });
    bridge.dingtalk.addUser({ staffId: "staff777", name: "王五" });
    expect(await open(bridge, { to: "user:staff777" })).toMatchObject({ mode: "card" });
  });

  it("without the permission is told once, with its name; replies are messages", async () => {
    fault(CREATE, { kind: "error", error: "permissionDenied" });
    for (const staffId of ["staff001", "staff002"]) {
      const { id } = await open(bridge, { to: `user:${staffId}` });
      await put(bridge, id, 0, "一");
      await finish(bridge, id, `给${staffId}`);
      await settled(bridge);
    }
    expect(messages(bridge)).toEqual(["给staff001", "给staff002"]);
    expect(said("lets the app create no cards")).toBeLessThanOrEqual(1);
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("lets the app create no cards")).toBe(1);
    await finish(bridge, id, "还有");
    expect(await open(bridge, { to: "user:staff002" })).toMatchObject({ mode: "buffered" });
    const { components, mends } = await health();
    expect(components["streams"]).toMatchObject({ status: "degraded", code: "dingtalk_permission_missing" });
    expect(mends.join()).toContain("互动卡片实例写权限");
    await settled(bridge);
  });

  it("without a template is told once; replies are messages", async () => {
    bridge.dingtalk.setKnobs({ cardTemplates: [] });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await expect.poll(() => said("refuses the card template")).toBe(1);
    await finish(bridge, id, "一二");
    await reply(["二"], "二三", { to: "user:staff002" });
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二", "二三"]);
    expect(cardCalls(bridge)).toHaveLength(1);
    expect(said("refuses the card template")).toBe(1);
    expect((await health()).components["streams"]).toMatchObject({ code: "card_template_missing" });
  });
});

describe("an update", () => {
  it.each<[string, ApiFault]>([
    ["is lost", { kind: "reset", executed: false, count: 1 }],
    ["takes effect, and its answer is lost", { kind: "reset", executed: true, count: 1 }],
    ["fails", { kind: "error", error: "unknownError", count: 2 }],
  ])("that %s is made up for by the next", async (_, what) => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, what);
    await put(bridge, id, 1, "一二");
    await expect.poll(() => shownOn(bridge, id), { timeout: 10_000 }).toBe("一二");
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二三");
    expect(messages(bridge)).toEqual([]);
  });

  it("that finds the card gone: the text is sent when it is complete", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, { ...refusal("param.stream.outTrackId"), count: 1 });
    await put(bridge, id, 1, "一二");
    await expect.poll(() => cardCalls(bridge).length).toBe(2);
    await finish(bridge, id, "一二三");
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });
});

describe("the last update", () => {
  it.each<[string, ApiFault]>([
    ["is lost", { kind: "reset", executed: false, count: 1 }],
    ["takes effect, and its answer is lost", { kind: "reset", executed: true, count: 2 }],
    ["fails for a while", { kind: "error", error: "systemBusy", count: 2 }],
    ["is throttled", { kind: "error", error: "qpsLimit", count: 1 }],
  ])("that %s is made again, the same", async (_, what) => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, what);
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二三");
    await settled(bridge);
    const guids = bridge.dingtalk.requests
      .filter(({ body }) => (body as { isFinalize?: boolean } | undefined)?.isFinalize === true)
      .map(({ body }) => (body as { guid: string }).guid);
    expect(new Set(guids).size).toBe(1);
    expect(messages(bridge)).toEqual([]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("that never works: the text is sent, and the card ends by its variables", { timeout: 90_000 }, async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, { kind: "error", error: "unknownError" });
    await finish(bridge, id, "一二三");
    await expect.poll(() => cardOf(bridge, id)?.flowStatus, { timeout: 80_000 }).toBe("3");
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });

  it("that finds the card gone: the text is sent", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, refusal("param.stream.outTrackId"));
    await finish(bridge, id, "一二三");
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });

  it("whose text is refused: it is sent as a message, and the card says where", async () => {
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, { ...refusal("param.contentUnsafe"), count: 1 });
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe(SEE_NEXT);
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });

  it("without the permission is made by the card's variables, and told once", async () => {
    fault(STREAM, { kind: "error", error: "permissionDenied" });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    await finish(bridge, id, "一二三");
    expect((await ended(bridge, id)).params["msgContent"]).toBe("一二三");
    await settled(bridge);
    expect(messages(bridge)).toEqual([]);
    expect(said("stream no text to cards")).toBe(1);
    expect((await health()).mends.join()).toContain("AI卡片流式更新权限");
  });

  it("that DingTalk has no calls left for: the text takes the other road", async () => {
    const group = await bridge.dingtalk.say({ text: "hi", group: "测试群" });
    await group.acked();
    const { conversationId } = group.body as { conversationId: string };
    const { id } = await open(bridge, { to: `conversation:${conversationId}` });
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    bridge.dingtalk.faults.exhaust("calls");
    await finish(bridge, id, "一二三");
    await expect.poll(() => messages(bridge), { timeout: 10_000 }).toEqual(["一二三"]);
  });
});

describe("while the last update does not get through", () => {
  it("for long, its text is sent as a message; the card says so when it can", async () => {
    await bridge.close();
    bridge = await startBridge({
      gateway: { mode: { kind: "silent" } },
      env: QUICK,
      overrides: { replyTimings: { patienceMs: 300 } },
    });
    const { id } = await open(bridge);
    await put(bridge, id, 0, "一");
    await appeared(bridge, id);
    fault(STREAM, { kind: "error", error: "unavailable" });
    await finish(bridge, id, "一二三");
    await expect.poll(() => messages(bridge), { timeout: 20_000 }).toEqual(["一二三"]);
    expect(cardOf(bridge, id)?.flowStatus).not.toBe("3");
    bridge.dingtalk.faults.clear();
    expect((await ended(bridge, id)).params["msgContent"]).toBe(SEE_NEXT);
    await settled(bridge);
    expect(messages(bridge)).toEqual(["一二三"]);
  });
});
