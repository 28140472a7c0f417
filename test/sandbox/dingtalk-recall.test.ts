import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, call, connect, token, type Answer, type Client } from "./dingtalk-client.ts";

const other = { appKey: "dingapp2", appSecret: "secret-2" };
const group = { conversationId: "cidGroup==", title: "测试群" };

let sim: DingtalkSimulator;
let accessToken: string;
beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app, other], groups: [group], knobs: { qps: 0 } });
  accessToken = await token(sim);
});
afterEach(() => sim.close());

const post = (path: string, body?: object, method?: string): Promise<Answer> =>
  call(sim, `/v1.0/robot/${path}`, body, { "x-acs-dingtalk-access-token": accessToken }, method);

const text = { robotCode: appKey, msgKey: "sampleText", msgParam: '{"content":"钉钉"}' };
async function sendOto(userIds = ["staff001"]): Promise<string> {
  return String((await post("oToMessages/batchSend", { ...text, userIds })).json["processQueryKey"]);
}
async function sendGroup(): Promise<string> {
  const { json } = await post("groupMessages/send", { ...text, openConversationId: group.conversationId });
  return String(json["processQueryKey"]);
}
const recallOto = (processQueryKeys: unknown, more: object = {}): Promise<Answer> =>
  post("otoMessages/batchRecall", { robotCode: appKey, processQueryKeys, ...more });
const recallGroup = (processQueryKeys: unknown, more: object = {}): Promise<Answer> =>
  post("groupMessages/recall", {
    robotCode: appKey,
    openConversationId: group.conversationId,
    processQueryKeys,
    ...more,
  });
const readStatus = (processQueryKey: string, robotCode = appKey): Promise<Answer> =>
  post(`oToMessages/readStatus?${new URLSearchParams({ robotCode, processQueryKey }).toString()}`);
const queryGroup = (more: object): Promise<Answer> =>
  post("groupMessages/query", { robotCode: appKey, openConversationId: group.conversationId, ...more });

describe("recall", () => {
  it("takes a message to a person back, again and again with the same answer", async () => {
    const [one, two] = [await sendOto(), await sendOto()];
    for (let round = 0; round < 2; round++) {
      expect(await recallOto([one])).toMatchObject({ status: 200, json: { successResult: [one], failedResult: {} } });
    }
    expect(sim.sent).toMatchObject([{ processQueryKey: one, recalled: true }, { processQueryKey: two }]);
    expect(sim.sent[1]?.recalled).toBeUndefined();
  });

  it("takes a message to a group back", async () => {
    const key = await sendGroup();
    expect((await recallGroup([key])).json).toEqual({ successResult: [key], failedResult: {} });
    expect(sim.sent).toMatchObject([{ recalled: true }]);
  });

  it("names inside a 200 what could not be taken back", async () => {
    const [mine, inGroup] = [await sendOto(), await sendGroup()];
    expect((await recallOto([mine, inGroup, "nonsense"])).json).toEqual({
      successResult: [mine],
      failedResult: { [inGroup]: "not.allowed.robotCode", nonsense: "invalid.processQueryKey" },
    });
    sim.addGroup({ conversationId: "cidOther==", title: "另一个群" });
    expect((await recallGroup([inGroup], { openConversationId: "cidOther==" })).json["failedResult"]).toEqual({
      [inGroup]: "invalid.processQueryKey",
    });
  });

  it("of another robot's message is not allowed", async () => {
    const key = await sendOto();
    const { json } = await call(sim, "/v1.0/oauth2/accessToken", other);
    accessToken = String(json["accessToken"]);
    expect((await recallOto([key], { robotCode: "dingapp2" })).json["failedResult"]).toEqual({
      [key]: "not.allowed.robotCode",
    });
  });

  it("comes too late after the window; in a 200 or as a 400", async () => {
    const key = await sendOto();
    sim.setKnobs({ recallWindowMs: 1 });
    const failed = { failedResult: { [key]: "robot.processQueryKey.expired" } };
    await expect.poll(async () => (await recallOto([key])).json).toMatchObject(failed);
    sim.setKnobs({ recallRefusal: "error" });
    expect(await recallOto([key])).toMatchObject({ status: 400, json: { code: "robot.processQueryKey.expired" } });
  });

  it.each([
    [{ robotCode: "dingapp2" }, "invalidParameter.robotCode", "invalidParameter.robotCode.notExsit"],
    [{ robotCode: "" }, "invalidParameter.robotCode", "miss.chatbotId"],
    [{ processQueryKeys: [] }, "invalidParameter.processQueryKey.missing", undefined],
    [{ processQueryKeys: "key" }, "invalidParameter.processQueryKey.missing", undefined],
    [{ processQueryKeys: [7] }, "invalidParameter.param.invalid", undefined],
    [{ processQueryKeys: Array(21).fill("k") }, "invalidParameter.processQueryKeys.overMax", undefined],
  ])("refuses %j with %s", async (more, oto, inGroup = oto) => {
    expect(await recallOto(["k"], more)).toMatchObject({ status: 400, json: { code: oto } });
    expect(await recallGroup(["k"], more)).toMatchObject({ status: 400, json: { code: inGroup } });
  });

  it.each([
    ["", "miss.openConversationId"],
    ["cidNowhere==", "invalid.openConversationId"],
  ])("in the group %j is refused with %s", async (openConversationId, code) => {
    expect(await recallGroup(["k"], { openConversationId })).toMatchObject({ status: 400, json: { code } });
  });

  it("is written with a lower-case oto", async () => {
    expect((await post("oToMessages/batchRecall", { robotCode: appKey, processQueryKeys: ["k"] })).status).toBe(404);
  });
});

describe("who has read it", () => {
  it("is known of a message to people; reading pushes the event", async () => {
    const client: Client = (await connect(sim)).autoAck({ status: "SUCCESS" });
    const key = await sendOto(["staff001", "staff002"]);
    await (await sim.read(key, "staff002")).acked();
    expect(client.messages[0]).toMatchObject({ type: "EVENT", headers: { topic: "*", eventType: "robot_msg_read" } });
    expect(client.body()).toMatchObject({ processQueryKey: key, userId: "staff002", robotCode: appKey });
    expect((await readStatus(key)).json).toEqual({
      sendStatus: "SUCCESS",
      messageReadInfoList: [
        { name: "张三", userId: "staff001", readStatus: "UNREAD" },
        { name: "李四", userId: "staff002", readStatus: "READ" },
      ],
    });
    await recallOto([key]);
    expect((await readStatus(key)).json["sendStatus"]).toBe("RECALLED");
    await expect(sim.read("nonsense", "staff001")).rejects.toThrow("no message");
  });

  it("is known of a message to a group, page by page", async () => {
    const processQueryKey = await sendGroup();
    for (const who of ["u1", "u2", "u3", "u2"]) await sim.read(processQueryKey, who);
    const first = await queryGroup({ processQueryKey, maxResults: 2 });
    expect(first.json).toEqual({ sendStatus: "SUCCESS", readUserIds: ["u1", "u2"], hasMore: true, nextToken: "2" });
    const second = await queryGroup({ processQueryKey, maxResults: 2, nextToken: "2" });
    expect(second.json).toEqual({ sendStatus: "SUCCESS", readUserIds: ["u3"], hasMore: false });
  });

  it.each([
    [{ processQueryKey: "" }, "invalidParameter.processQueryKey.missing"],
    [{ processQueryKey: "nonsense" }, "invalid.processQueryKey"],
    [{ maxResults: 201 }, "invalidParameter.pageSize.invalid"],
    [{ nextToken: "x" }, "invalidParameter.cursor.invalid"],
    [{ robotCode: "" }, "invalidParameter.robotCode.missing"],
  ])("is refused for %j with %s", async (more, code) => {
    const processQueryKey = await sendGroup();
    expect(await queryGroup({ processQueryKey, ...more })).toMatchObject({ status: 400, json: { code } });
  });

  it("is refused for unknown keys and robots, and after the window", async () => {
    const key = await sendOto();
    expect((await readStatus("nonsense")).json["code"]).toBe("invalid.processQueryKey");
    expect((await readStatus("")).json["code"]).toBe("invalidParameter.processQueryKey.missing");
    expect((await readStatus(key, "")).json["code"]).toBe("invalidParameter.robotCode.empty");
    expect((await readStatus(key, "dingapp2")).json["code"]).toBe("invalidParameter.robotCode.notExsit");
    sim.setKnobs({ recallWindowMs: 1 });
    await expect.poll(async () => (await readStatus(key)).json["code"]).toBe("processQueryKey.expireTime");
  });
});
