import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { cardClient, instance, outTrackId, toGroup, toUser, type CardClient } from "./dingtalk-card-client.ts";
import { app, appKey, call, type Answer } from "./dingtalk-client.ts";

const other = { appKey: "dingapp2", appSecret: "secret-2" };

let sim: DingtalkSimulator;
let client: CardClient;

beforeEach(async () => {
  await start();
});
afterEach(() => sim.close());

async function start(missingScopes: string[] = []): Promise<void> {
  sim = await startDingtalkSimulator({
    apps: [{ ...app, missingScopes }, other],
    groups: [
      { conversationId: "cidGroup==", title: "测试群" },
      { conversationId: "cidOther==", title: "别的群", robots: [other.appKey] },
    ],
  });
  client = cardClient(sim);
}

const card = (): SimulatedCard => client.card();
const create: CardClient["create"] = (more) => client.create(more);
const stream: CardClient["stream"] = (content, more) => client.stream(content, more);
const update: CardClient["update"] = (more) => client.update(more);
const authed: CardClient["authed"] = (...args) => client.authed(...args);

describe("createAndDeliver", () => {
  it("puts a card into a direct conversation", async () => {
    const { body } = await sim.say({ text: "hi" });
    const answer = await create({ privateData: { staff001: { cardParamMap: { voted: "0" } } } });
    expect(answer).toMatchObject({
      status: 200,
      json: {
        success: true,
        result: {
          outTrackId,
          deliverResults: [{ spaceType: "IM_ROBOT", spaceId: "staff001", success: true, errorMsg: "" }],
        },
      },
    });
    expect(sim.cards).toEqual([
      {
        seq: expect.any(Number),
        app: appKey,
        outTrackId,
        templateId: publicTemplate,
        conversationId: (body as { conversationId: string }).conversationId,
        spaceType: "IM_ROBOT",
        userId: "staff001",
        params: { msgContent: "", status: "new" },
        privateParams: { staff001: { voted: "0" } },
        flowStatus: "1",
        content: {},
        updates: [],
        streamed: 0,
        changed: 0,
        carrierId: expect.stringMatching(/./),
        callbackType: "STREAM",
        cardAtUserIds: [],
        atUserIds: {},
        summary: { ZH_CN: "摘要" },
        createdAt: expect.any(Number),
        delivered: true,
        deliveries: 1,
        blank: false,
      },
    ]);
    expect(sim.sent).toEqual([]);
    expect(sim.problems).toEqual([]);
    expect(sim.calls({ api: "card/instances/createAndDeliver", ok: true, conversationId: card().conversationId })).toHaveLength(1); // prettier-ignore
    expect(sim.usage().calls).toBe(1);
  });

  it("puts a card into a group, between the messages", async () => {
    const send = (text: string): Promise<Answer> =>
      authed("POST", "/v1.0/robot/groupMessages/send", {
        robotCode: appKey,
        openConversationId: "cidGroup==",
        msgKey: "sampleText",
        msgParam: JSON.stringify({ content: text }),
      });
    await send("before");
    await create(toGroup);
    await send("after");
    const [before, after] = sim.sent;
    expect(card()).toMatchObject({
      conversationId: "cidGroup==",
      spaceType: "IM_GROUP",
      cardAtUserIds: ["staff001"],
      atUserIds: { staff001: "张三" },
    });
    expect(card().seq).toBeGreaterThan(before?.seq ?? 0);
    expect(card().seq).toBeLessThan(after?.seq ?? 0);
  });

  it("takes a space type in lower case and several spaces", async () => {
    await create({ ...toGroup, imRobotOpenDeliverModel: toUser.imRobotOpenDeliverModel,
      openSpaceId: "dtv1.card//im_group.cidGroup==;im_robot.staff002" }); // prettier-ignore
    expect(card()).toMatchObject({ deliveries: 2, userId: "staff002" });
    expect(sim.problems).toEqual([expect.stringContaining("delivered twice")]);
  });

  it.each([
    [{ outTrackId: "" }, "param.outTrackIdEmpty"],
    [{ cardTemplateId: undefined }, "param.cardTemplateIdEmpty"],
    [{ cardTemplateId: "none.schema" }, "param.templateNotExist"],
    [{ cardTemplateId: "draft.schema" }, "param.templateUnpublished"],
    [{ cardData: undefined }, "param.cardPublicDataEmpty"],
    [{ cardData: { cardParamMap: { a: 1 } } }, "param.invalid"],
    [{ cardData: { cardParamMap: { ["k".repeat(101)]: "" } } }, "param.invalid"],
    [{ callbackType: "stream" }, "param.invalid"],
    [{ callbackType: "HTTP" }, "param.invalid"],
    [{ privateData: { "": { cardParamMap: {} } } }, "param.userIdEmpty"],
    [{ privateData: { staff404: { cardParamMap: {} } } }, "param.userIdNotExist"],
    [{ openSpaceId: undefined }, "param.openSpaceIdEmpty"],
    [{ openSpaceId: "IM_ROBOT.staff001" }, "param.openSpaceIdInvalid"],
    [{ openSpaceId: "dtv1.card//IM_NOTHING.staff001" }, "param.openSpaceIdInvalid"],
    [{ openSpaceId: "dtv1.card//constructor.staff001" }, "param.openSpaceIdInvalid"],
    [{ openSpaceId: "dtv1.card//IM_ROBOT.staff404" }, "param.userIdNotExist"],
    [{ imRobotOpenSpaceModel: {} }, "param.openSpaceModelInvalid"],
    [{ imRobotOpenDeliverModel: undefined }, "param.openDeliverModelEmpty"],
    [{ imRobotOpenDeliverModel: { robotCode: appKey } }, "param.openDeliverModelError"],
    [{ imRobotOpenDeliverModel: { spaceType: "IM_ROBOT", robotCode: "dingapp2" } }, "param.openDeliverModelError"],
    [{ ...toGroup, imGroupOpenDeliverModel: {} }, "param.openDeliverModelError"],
  ])("refuses %j with %s", async (more, code) => {
    sim.setKnobs({ cardTemplatesUnpublished: ["draft.schema"] });
    expect(await create(more)).toMatchObject({ status: 400, json: { code } });
    expect(sim.cards).toEqual([]);
  });

  it("refuses an id that was used before, and keeps the first card", async () => {
    await create();
    const again = await create({ cardData: { cardParamMap: { status: "again" } } });
    expect(again).toMatchObject({ status: 400, json: { code: "param.cardAlreadyExist" } });
    expect(card()).toMatchObject({ params: { status: "new" }, deliveries: 1 });
  });

  it.each([
    ["a conversation id for a person", { openSpaceId: "dtv1.card//IM_ROBOT.cidGroup==" }],
    ["a group nobody knows", { ...toGroup, openSpaceId: "dtv1.card//IM_GROUP.cidNowhere==" }],
    ["a group without the robot", { ...toGroup, openSpaceId: "dtv1.card//IM_GROUP.cidOther==" }],
  ])("fails within a 200: %s", async (_name, more) => {
    const answer = await create(more);
    expect(answer.status).toBe(200);
    expect(answer.json["result"]).toMatchObject({ deliverResults: [{ success: false, errorMsg: "spaceId is illegal" }] }); // prettier-ignore
    expect(card()).toMatchObject({ delivered: false, deliveries: 0, conversationId: "" });
  });

  it("fails within a 200 by knob; the card is there, or not", async () => {
    sim.setKnobs({ cardDeliverError: "SYSTEM_ERROR" });
    const answer = await create();
    expect(answer.json["result"]).toMatchObject({ deliverResults: [{ success: false, errorMsg: "SYSTEM_ERROR" }] });
    expect(await create()).toMatchObject({ status: 400, json: { code: "param.cardAlreadyExist" } });
    sim.setKnobs({ cardDeliverError: "", cardKeptUndelivered: false });
    const deliver = await authed("POST", "/v1.0/card/instances/deliver", { outTrackId, ...toUser });
    expect(deliver.json).toMatchObject({ success: true, result: [{ success: true }] });
    expect(card()).toMatchObject({ delivered: true, deliveries: 1 });
    sim.reset();
    sim.setKnobs({ cardDeliverError: "SYSTEM_ERROR" });
    await create();
    sim.setKnobs({ cardDeliverError: "" });
    await create();
    expect(sim.cards).toMatchObject([{ delivered: false }, { delivered: true }]);
  });

  it("works although the answer is lost", async () => {
    sim.faults.api("card/instances/createAndDeliver", { kind: "gatewayTimeout", executed: true, count: 1 });
    sim.setKnobs({ gatewayTimeoutMs: 0 });
    expect((await create()).status).toBe(504);
    expect(card()).toMatchObject({ delivered: true });
  });

  it("needs its permission", async () => {
    await sim.close();
    await start(["Card.Instance.Write"]);
    expect(await create()).toMatchObject({
      status: 403,
      json: { accessdenieddetail: { requiredScopes: ["Card.Instance.Write"] } },
    });
    expect(await stream("x")).toMatchObject({ status: 400, json: { code: "param.stream.outTrackId" } });
  });
});

it("a card in two steps takes its place at the second", async () => {
  const { status, json } = await authed("POST", "/v1.0/card/instances", instance);
  expect([status, json]).toEqual([200, { success: true, result: outTrackId }]);
  expect(card()).toMatchObject({ delivered: false });
  const { seq } = card();
  await authed("POST", "/v1.0/card/instances/deliver", { outTrackId, ...toGroup });
  expect(card()).toMatchObject({ delivered: true, conversationId: "cidGroup==" });
  expect(card().seq).toBeGreaterThan(seq);
  expect(await authed("POST", "/v1.0/card/instances/deliver", { outTrackId: "br_404", ...toUser })).toMatchObject({
    json: { code: "param.cardNotExist" },
  });
});

describe("streaming", () => {
  it("goes from processing to inputting to finished", async () => {
    await create();
    const states = [card().flowStatus];
    for (const [text, more] of [
      ["你", {}],
      ["你好", {}],
      ["你好。", { isFinalize: true }],
    ] as const) {
      expect(await stream(text, more)).toMatchObject({ status: 200, json: { success: true, result: true } });
      states.push(card().flowStatus);
    }
    expect(states).toEqual(["1", "2", "2", "3"]);
    expect(card()).toMatchObject({
      params: { msgContent: "你好。", status: "new" },
      content: { msgContent: "你好。" },
      streamed: 3,
      finishedAt: expect.any(Number),
      updates: [
        { key: "msgContent", content: "你", isFinalize: false, isError: false, guid: expect.any(String) },
        { content: "你好" },
        { content: "你好。", isFinalize: true },
      ],
    });
  });

  it("fails a card", async () => {
    await create();
    await stream("坏了", { isError: true });
    expect(card()).toMatchObject({ flowStatus: "5", finishedAt: expect.any(Number) });
  });

  it("takes one guid once", async () => {
    await create();
    await stream("a", { guid: "g", isFinalize: true });
    expect(await stream("a", { guid: "g", isFinalize: true })).toMatchObject({ status: 200 });
    expect(card().updates).toHaveLength(1);
    expect(sim.problems).toEqual([]);
    await stream("b", { guid: "g" });
    expect(card().content).toEqual({ msgContent: "a" });
    expect(sim.problems).toEqual([expect.stringContaining("used for another content")]);
  });

  it.each([
    ["refuse", 500, "3", "a"],
    ["ignore", 200, "3", "a"],
    ["reopen", 200, "2", "b"],
  ] as const)("after the end: %s", async (cardAfterFinal, status, flowStatus, text) => {
    sim.setKnobs({ cardAfterFinal });
    await create();
    await stream("a", { isFinalize: true });
    expect((await stream("b")).status).toBe(status);
    expect(card()).toMatchObject({ flowStatus, content: { msgContent: text } });
    expect(sim.problems).toEqual([expect.stringContaining("after the end")]);
  });

  it.each([
    ["no guid", { guid: "" }, 400, "param.stream.guidEmpty"],
    ["no key", { key: undefined }, 400, "param.stream.keyEmpty"],
    ["no content", { content: "" }, 400, "param.stream.contentEmpty"],
    ["an unknown card", { outTrackId: "br_404" }, 400, "param.stream.outTrackId"],
    ["no card", { outTrackId: undefined }, 400, "param.stream.outTrackId"],
    ["no isFull", { isFull: undefined }, 400, "param.stream.isFull"],
    ["isFull false", { isFull: false }, 400, "param.stream.isFull"],
    ["another variable", { key: "content" }, 500, "unknownError"],
    ["too much", { content: "字".repeat(7_000) }, 400, "param.stream.content"],
  ])("refuses %s", async (_name, more, status, code) => {
    await create();
    expect(await stream("x", more)).toMatchObject({ status, json: { code } });
    expect(card()).toMatchObject({ flowStatus: "1", streamed: 0 });
  });

  it("answers 500 to what is too long, by knob", async () => {
    sim.setKnobs({ cardStreamTooLong: "unknownError", cardStreamBytes: 10 });
    await create();
    expect(await stream("字字字字")).toMatchObject({ status: 500, json: { code: "unknownError" } });
    expect((await stream("字字字")).status).toBe(200);
  });

  it("appends to variables that are not Markdown", async () => {
    sim.setKnobs({ cardMarkdown: false });
    await create();
    await stream("a", { isFull: false });
    await stream("b", { isFull: false });
    expect(card().content).toEqual({ msgContent: "ab" });
    expect(await stream("c", { isFull: undefined })).toMatchObject({ json: { code: "param.stream.isFull" } });
  });

  it("forgets old updates, and counts them", async () => {
    sim.setKnobs({ cardUpdatesKept: 5, qps: 0 });
    await create();
    for (let i = 1; i <= 20; i++) await stream(`t${i}`);
    expect(card().streamed).toBe(20);
    expect(card().updates.length).toBeLessThanOrEqual(6);
    expect(card().updates.at(-1)).toMatchObject({ content: "t20" });
  });

  it("needs its permission", async () => {
    await sim.close();
    await start(["Card.Streaming.Write"]);
    await create();
    expect(await stream("x")).toMatchObject({
      status: 403,
      json: { accessdenieddetail: { requiredScopes: ["Card.Streaming.Write"] } },
    });
  });

  it("shows nothing of a text that is too long for people's clients", async () => {
    await create();
    await stream("字".repeat(3_000));
    expect(card().blank).toBe(false);
    await stream("字".repeat(3_001), { isFinalize: true });
    expect(card().blank).toBe(true);
    await update({ cardData: { cardParamMap: { msgContent: "kurz" } } });
    expect(card().blank).toBe(false);
  });
});

describe("an update", () => {
  it("by key keeps the other variables", async () => {
    await create({ privateData: { staff001: { cardParamMap: { a: "1" } } } });
    await stream("text");
    const answer = await update({ privateData: { staff001: { cardParamMap: { b: "2" } } } });
    expect(answer.json).toEqual({ success: true, result: true });
    expect(card()).toMatchObject({
      params: { msgContent: "text", status: "done" },
      privateParams: { staff001: { a: "1", b: "2" } },
      content: { msgContent: "text" },
      changed: 1,
    });
    expect(sim.problems).toEqual([]);
  });

  it("without the options overwrites, streamed text included", async () => {
    await create({ privateData: { staff001: { cardParamMap: { a: "1" } } } });
    await stream("text");
    await update({ cardUpdateOptions: undefined, privateData: { staff001: { cardParamMap: { b: "2" } } } });
    expect(card()).toMatchObject({ params: { status: "done" }, content: {}, privateParams: { staff001: { b: "2" } } });
    expect(Object.keys(card().params)).toEqual(["status"]);
    expect(sim.problems).toEqual([expect.stringContaining("lost: msgContent")]);
  });

  it("moves the state by flowStatus", async () => {
    await create({ cardData: { cardParamMap: { flowStatus: "2" } } });
    expect(card().flowStatus).toBe("2");
    await stream("x", { isFinalize: true });
    expect(card()).toMatchObject({ flowStatus: "3", params: { flowStatus: "3" } });
    await update({ cardData: { cardParamMap: { flowStatus: "5" } } });
    expect(card()).toMatchObject({ flowStatus: "5", content: { msgContent: "x" } });
    await update({ cardData: { cardParamMap: { flowStatus: "9" } } });
    expect(card()).toMatchObject({ flowStatus: "5" });
  });

  it("writes over streamed text", async () => {
    await create();
    await stream("x");
    await update({ cardData: { cardParamMap: { msgContent: "y" } } });
    expect(card()).toMatchObject({ content: { msgContent: "y" }, params: { msgContent: "y" } });
  });

  it.each([
    [{ outTrackId: "" }, "param.outTrackIdEmpty"],
    [{ outTrackId: "br_404" }, "param.cardNotExist"],
    [{ cardData: undefined }, "param.cardDataAndPrivateDataBothEmpty"],
    [{ cardData: { cardParamMap: { a: {} } } }, "param.invalid"],
    [{ privateData: { staff404: { cardParamMap: {} } } }, "param.userIdNotExist"],
  ])("refuses %j with %s", async (more, code) => {
    await create();
    expect(await update(more)).toMatchObject({ status: 400, json: { code } });
    expect(card()).toMatchObject({ changed: 0, params: { status: "new" } });
  });

  it("of another app's card is refused", async () => {
    await create();
    const theirs = await call(sim, "/v1.0/oauth2/accessToken", other);
    const headers = { "x-acs-dingtalk-access-token": String(theirs.json["accessToken"]) };
    const answer = await call(sim, "/v1.0/card/instances", { outTrackId }, headers, "PUT");
    expect(answer).toMatchObject({ json: { code: "param.cardNotExist" } });
    expect(sim.card(outTrackId, other.appKey)).toBeUndefined();
  });
});

it("all card calls of an app share a limit, by knob", async () => {
  sim.setKnobs({ cardQps: 2 });
  await create();
  expect((await update()).status).toBe(200);
  expect(await stream("x")).toMatchObject({ status: 403, json: { code: "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi" } }); // prettier-ignore
  sim.setKnobs({ throttleAnswer: 429 });
  expect((await stream("x")).status).toBe(429);
});
