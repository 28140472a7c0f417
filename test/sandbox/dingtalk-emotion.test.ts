import { afterEach, beforeEach, expect, it } from "vitest";
import { controlSimulator } from "../../src/sandbox/dingtalk-control.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, call, connect, token, type Answer } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let said: { msgId: string; conversationId: string };

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app, { appKey: "dingapp2", appSecret: "secret-2" }] });
  (await connect(sim)).autoAck();
  said = (await sim.say({ text: "hi" })).body as typeof said;
});
afterEach(() => sim.close());

const emotion = async (what: "reply" | "recall", more: object = {}, name = "🤔思考中"): Promise<Answer> =>
  call(
    sim,
    `/v1.0/robot/emotion/${what}`,
    {
      robotCode: appKey,
      openMsgId: said.msgId,
      openConversationId: said.conversationId,
      emotionType: 2,
      emotionName: name,
      textEmotion: { emotionId: "2659900", emotionName: name, text: name, backgroundId: "im_bg_1" },
      ...more,
    },
    { "x-acs-dingtalk-access-token": await token(sim) },
  );

it("a reaction is attached once and recalled", async () => {
  expect(await emotion("reply")).toMatchObject({ status: 200, json: { success: true } });
  await emotion("reply");
  await emotion("reply", {}, "👀");
  const { msgId, conversationId } = said;
  expect(sim.reactions).toEqual([
    { seq: expect.any(Number), at: expect.any(Number), app: appKey, msgId, conversationId, name: "🤔思考中" },
    expect.objectContaining({ name: "👀" }),
  ]);
  expect(await emotion("recall")).toMatchObject({ status: 200, json: { success: true } });
  expect(sim.reactions).toMatchObject([{ name: "🤔思考中", recalled: true }, { name: "👀" }]);
  expect(sim.reactions[1]).not.toHaveProperty("recalled");
  await emotion("reply");
  expect(sim.reactions).toHaveLength(3);
  expect(await controlSimulator(sim.url).list("reactions")).toHaveLength(3);
  sim.reset();
  expect(sim.reactions).toEqual([]);
});

it.each([
  [{ robotCode: undefined }, 400, "invalidParameter.robotCode.empty"],
  [{ robotCode: "dingapp2" }, 400, "invalidParameter.robotCode.auth"],
  [{ openMsgId: "" }, 400, "invalidParameter.param.invalid"],
  [{ openConversationId: "" }, 400, "invalidParameter.param.invalid"],
  [{ emotionType: "2" }, 400, "invalidParameter.param.invalid"],
  [{ emotionName: "" }, 400, "invalidParameter.param.invalid"],
  [{ textEmotion: undefined }, 400, "invalidParameter.param.invalid"],
  [{ textEmotion: { emotionName: "🤔思考中" } }, 400, "invalidParameter.param.invalid"],
  [{ openMsgId: "msgNobodySaid==" }, 500, "system.err"],
])("refuses %j with %s %s", async (more, status, code) => {
  expect(await emotion("reply", more)).toMatchObject({ status, json: { code } });
  expect(sim.reactions).toEqual([]);
});

it("right after the message it fails, by knob", async () => {
  sim.setKnobs({ emotionSettleMs: 3_600_000 });
  expect(await emotion("reply")).toMatchObject({ status: 500, json: { code: "system.err" } });
  sim.setKnobs({ emotionSettleMs: 0 });
  expect((await emotion("reply")).status).toBe(200);
});
