import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import { controlSimulator, type ControlEvent } from "../../src/sandbox/dingtalk-control.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { cardClient, instance, outTrackId, toGroup, type CardClient } from "./dingtalk-card-client.ts";
import { app, cardTopic, connect } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let client: CardClient;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app], groups: [{ conversationId: "cidGroup==", title: "测试群" }] });
  client = cardClient(sim);
});
afterEach(() => sim.close());

const card = (): SimulatedCard => client.card();
const create: CardClient["create"] = (more) => client.create(more);

describe("a press", () => {
  const press = { outTrackId, actionId: "stop", params: { action: "accept" } };

  it("is an action callback", async () => {
    await create(toGroup);
    const bridge = (await connect(sim)).autoAck({ response: {} });
    const handle = await sim.press({ ...press, from: "staff002" });
    expect((await handle.acked()).late).toBe(false);
    const [frame] = bridge.messages;
    expect(frame).toMatchObject({ type: "CALLBACK", headers: { topic: cardTopic } });
    const { content, ...rest } = bridge.body();
    expect(rest).toEqual({
      type: "actionCallback",
      outTrackId,
      corpId: expect.stringMatching(/^ding/),
      userId: "staff002",
      userIdType: 1,
      spaceId: "cidGroup==",
      spaceType: "IM_GROUP",
      extension: "{}",
    });
    expect(JSON.parse(content as string)).toEqual({
      cardPrivateData: { actionIds: ["stop"], params: { action: "accept" } },
    });
    expect(card()).toMatchObject({ changed: 0 });
  });

  it("comes from the person of a direct card", async () => {
    await create({ openSpaceId: "dtv1.card//IM_ROBOT.staff002" });
    sim.setKnobs({ cardActionSpaceType: "IM" });
    expect((await sim.press(press)).body).toMatchObject({ userId: "staff002", spaceId: "staff002", spaceType: "IM" });
  });

  it.each([
    ["object", { content: { cardPrivateData: { actionIds: ["stop"] } } }],
    ["value", { value: expect.stringContaining('"stop"'), content: expect.stringContaining('"stop"') }],
    ["topLevel", { actionId: "stop", content: expect.stringContaining('"accept"') }],
    ["actionData", { actionData: { cardPrivateData: { actionIds: ["stop"] } } }],
  ] as const)("in the shape %s", async (cardActionShape, expected) => {
    sim.setKnobs({ cardActionShape });
    await create();
    expect((await sim.press(press)).body).toMatchObject(expected);
  });

  it("changes the card by its answer", async () => {
    await create({ privateData: { staff001: { cardParamMap: { a: "1" } } } });
    (await connect(sim)).autoAck({
      response: {
        cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
        cardData: { cardParamMap: { status: "stopped" } },
        userPrivateData: { cardParamMap: { voted: "1" } },
      },
    });
    await (await sim.press(press)).acked();
    await sim.until("card", ({ changed }) => changed === 1);
    expect(card()).toMatchObject({
      params: { msgContent: "", status: "stopped" },
      privateParams: { staff001: { a: "1", voted: "1" } },
    });
  });

  it("is not changed by a late answer", async () => {
    await create();
    sim.setKnobs({ cardCallbackLateAfterMs: 0 });
    (await connect(sim)).autoAck({ response: { cardData: { cardParamMap: { status: "stopped" } } } });
    expect((await (await sim.press(press)).acked()).late).toBe(true);
    expect(card()).toMatchObject({ params: { status: "new" } });
  });

  it("reaches nobody without callbackType STREAM, and needs a card in a chat", async () => {
    await connect(sim);
    await create({ callbackType: undefined });
    expect(await sim.press(press)).toMatchObject({ delivered: false, reason: "not_subscribed" });
    await expect(sim.press({ ...press, outTrackId: "br_404" })).rejects.toThrow("no card");
    await client.authed("POST", "/v1.0/card/instances", { ...instance, outTrackId: "br_2" });
    await expect(sim.press({ ...press, outTrackId: "br_2" })).rejects.toThrow("no card");
  });
});

it("every creation and change is an event", async () => {
  const seen: string[] = [];
  sim.events.on("card", ({ flowStatus, params }) => seen.push(`${flowStatus} ${params["status"] ?? ""}`));
  const finished = sim.waitFor("card", ({ flowStatus }) => flowStatus === "3");
  await create();
  await client.stream("x");
  await client.update();
  await client.stream("y", { isFinalize: true });
  expect(await finished).toBe(card());
  expect(seen).toEqual(["1 new", "2 new", "2 done", "3 done"]);
  sim.reset();
  expect(sim.cards).toEqual([]);
  expect(await client.update()).toMatchObject({ json: { code: "param.cardNotExist" } });
});

it("another process sees cards, their newest update in lists and events, all of them one by one", async () => {
  const control = controlSimulator(sim.url);
  const events: ControlEvent[] = [];
  const stop = await control.watch((event) => events.push(event), ["card"]);
  await create();
  await client.stream("a");
  await client.stream("ab");
  await expect.poll(() => events).toHaveLength(3);
  expect(events.at(-1)).toMatchObject({ event: "card", record: { streamed: 2, updates: [{ content: "ab" }] } });
  expect(await control.list("cards")).toMatchObject([{ outTrackId, updates: [{ content: "ab" }] }]);
  expect(await control.list("cards", card().seq)).toEqual([]);
  expect(await control.card(outTrackId)).toMatchObject({ updates: [{ content: "a" }, { content: "ab" }] });
  expect(await control.card("br_404")).toBeUndefined();
  (await connect(sim)).autoAck();
  expect(await control.press({ outTrackId, actionId: "stop" })).toMatchObject({ delivered: true });
  stop();
});
