import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, appSecret, call, token, type Answer } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
const group = { conversationId: "cidGroup==", title: "测试群" };

beforeEach(async () => {
  sim = await startDingtalkSimulator({
    apps: [app, { appKey: "dingapp2", appSecret: "secret-2" }],
    groups: [group, { conversationId: "cidOther==", title: "别的群", robots: ["dingapp2"] }],
  });
});
afterEach(() => sim.close());

const authed = async (path: string, body: unknown): Promise<Answer> =>
  call(sim, path, body, { "x-acs-dingtalk-access-token": await token(sim) });
const text = { msgKey: "sampleText", msgParam: '{"content":"钉钉"}' };
const toGroup = { robotCode: appKey, openConversationId: group.conversationId, ...text };
const toUsers = { robotCode: appKey, userIds: ["staff001"], ...text };
const sendGroup = (more: object = {}): Promise<Answer> =>
  authed("/v1.0/robot/groupMessages/send", { ...toGroup, ...more });
const sendUsers = (more: object = {}): Promise<Answer> =>
  authed("/v1.0/robot/oToMessages/batchSend", { ...toUsers, ...more });

describe("tokens", () => {
  it("are the same while valid, in all three ways, and 7200 s long", async () => {
    const first = await call(sim, "/v1.0/oauth2/accessToken", { appKey, appSecret });
    expect(first.json).toEqual({ accessToken: expect.any(String), expireIn: 7_200 });
    const value = first.json["accessToken"];
    const old = await call(sim, `/gettoken?appkey=${appKey}&appsecret=${appSecret}`);
    expect(old.json).toEqual({ errcode: 0, errmsg: "ok", access_token: value, expires_in: 7_200 });
    const corpId = (await sim.say({ text: "x" })).body as { chatbotCorpId: string };
    const body = { client_id: appKey, client_secret: appSecret, grant_type: "client_credentials" };
    const unified = await call(sim, `/v1.0/oauth2/${corpId.chatbotCorpId}/token`, body);
    expect(unified.json).toEqual({ access_token: value, expires_in: 7_200 });
  });

  it("are renewed after expiry", async () => {
    const first = await token(sim);
    sim.faults.expireTokens();
    expect(await token(sim)).not.toBe(first);
    sim.setKnobs({ tokenTtlMs: -1 });
    expect(await token(sim)).not.toBe(await token(sim));
  });

  it("are refused to wrong secrets", async () => {
    const wrong = await call(sim, "/v1.0/oauth2/accessToken", { appKey, appSecret: "no" });
    expect(wrong).toMatchObject({ status: 400, json: { code: "invalidClientIdOrSecret" } });
    const old = await call(sim, `/gettoken?appkey=${appKey}&appsecret=no`);
    expect(old).toMatchObject({ status: 200, json: { errcode: 40089 } });
    const form = await call(sim, "/v1.0/oauth2/accessToken", "a=b", { "content-type": "text/plain" });
    expect(form).toMatchObject({ status: 400, json: { code: "Missingbody" } });
    expect(JSON.stringify(sim.requests)).not.toContain(appSecret);
  });

  it.each([
    ["missing", {}],
    ["unknown", { "x-acs-dingtalk-access-token": "abc" }],
  ])("that are %s answer 400 InvalidAuthentication", async (_name, headers) => {
    const answer = await call(sim, "/v1.0/robot/groupMessages/send", toGroup, headers);
    expect(answer).toMatchObject({
      status: 400,
      json: { code: "InvalidAuthentication", message: "不合法的access_token", requestid: expect.any(String) },
    });
    expect(sim.sent).toEqual([]);
  });

  it("that expired in mid-flight answer the same", async () => {
    const value = await token(sim);
    sim.faults.expireTokens();
    const headers = { "x-acs-dingtalk-access-token": value };
    const answer = await call(sim, "/v1.0/robot/groupMessages/send", toGroup, headers);
    expect(answer).toMatchObject({ status: 400, json: { code: "InvalidAuthentication" } });
  });
});

describe("groupMessages/send", () => {
  it("appears in the group", async () => {
    const answer = await sendGroup();
    expect(answer).toMatchObject({ status: 200, json: { processQueryKey: expect.any(String) } });
    expect(sim.sent).toMatchObject([
      {
        app: appKey,
        route: "group",
        conversationId: "cidGroup==",
        msgKey: "sampleText",
        text: "钉钉",
        mentions: [],
        answered: true,
        processQueryKey: answer.json["processQueryKey"],
      },
    ]);
    expect(answer.headers.get("x-acs-request-id")).toBeTruthy();
    expect(answer.headers.get("content-type")).toBe("application/json;charset=utf-8");
  });

  it.each([
    [{ robotCode: undefined }, "invalidParameter.robotCode.missing"],
    [{ robotCode: "nobody" }, "invalidParameter.robotCode.notExsit"],
    [{ robotCode: "dingapp2" }, "invalidParameter.robotCode.auth"],
    [{ openConversationId: "" }, "miss.openConversationId"],
    [{ openConversationId: "CIDGROUP==" }, "invalid.openConversationId"],
    [{ openConversationId: "cidOther==" }, "invalidParameter.robotCode.invalid"],
    [{ msgKey: undefined }, "invalidParameter.msgKey.empty"],
    [{ msgKey: "sampleNothing" }, "invalidParameter.msgKey.invalid"],
    [{ msgKey: "constructor" }, "invalidParameter.msgKey.invalid"],
    [{ msgParam: { content: "x" } }, "invalidParameter.msgParam.invalid"],
    [{ msgParam: "plain" }, "invalidParameter.msgParam.invalid"],
    [{ msgParam: "[]" }, "invalidParameter.msgParam.invalid"],
    [{ msgParam: '{"text":"x"}' }, "invalidParameter.param.invalid"],
    [{ msgKey: "sampleMarkdown", msgParam: '{"text":"x"}' }, "invalidParameter.param.invalid"],
    [{ msgKey: "sampleActionCard2", msgParam: '{"title":"a","text":"b"}' }, "invalidParameter.param.invalid"],
    [
      { msgKey: "sampleFile", msgParam: '{"mediaId":"@a","fileName":"a.txt","fileType":"txt"}' },
      "invalidParameter.msgParam.invalid",
    ],
    [{ msgParam: JSON.stringify({ content: "字".repeat(5_000) }) }, "invalidParameter.msgParam.tooLong"],
  ])("refuses %j with %s", async (more, code) => {
    expect(await sendGroup(more)).toMatchObject({ status: 400, json: { code } });
    expect(sim.sent).toEqual([]);
  });

  it("counts bytes: 15,000 are enough, one more is too many", async () => {
    const param = (bytes: number): string => JSON.stringify({ content: "x".repeat(bytes - 14) });
    expect(Buffer.byteLength(param(15_000))).toBe(15_000);
    expect((await sendGroup({ msgParam: param(15_000) })).status).toBe(200);
    expect((await sendGroup({ msgParam: param(15_001) })).status).toBe(400);
  });

  it.each([
    ["sampleMarkdown", { title: "t", text: "**x**" }],
    ["sampleImageMsg", { photoURL: "https://example.com/a.png" }],
    ["sampleLink", { title: "t", text: "x", picUrl: "", messageUrl: "https://example.com" }],
    ["sampleActionCard", { title: "t", text: "x", singleTitle: "s", singleURL: "https://example.com" }],
    [
      "sampleActionCard2",
      { title: "t", text: "x", actionTitle1: "a", actionURL1: "u", actionTitle2: "b", actionURL2: "u" },
    ],
    [
      "sampleActionCard6",
      { title: "t", text: "x", buttonTitle1: "a", buttonUrl1: "u", buttonTitle2: "b", buttonUrl2: "u" },
    ],
  ])("takes %s", async (msgKey, param) => {
    expect((await sendGroup({ msgKey, msgParam: JSON.stringify(param) })).status).toBe(200);
    expect(sim.sent).toMatchObject([{ msgKey, raw: param }]);
  });

  it("does not @: the undocumented parameter is a problem", async () => {
    await sendGroup({ atUserIds: ["staff001"] });
    expect(sim.sent[0]?.mentions).toEqual([]);
    expect(sim.problems).toEqual([expect.stringContaining("atUserIds")]);
  });
});

describe("oToMessages/batchSend", () => {
  it("reaches the direct conversation that the person writes in", async () => {
    const body = (await sim.say({ text: "hi" })).body as { conversationId: string };
    await sendUsers();
    expect(sim.sent).toMatchObject([
      { route: "oto", conversationId: body.conversationId, userIds: ["staff001"], text: "钉钉", answered: true },
    ]);
  });

  it("lists unknown people inside a 200", async () => {
    const answer = await sendUsers({ userIds: ["staff001", "nobody"] });
    expect(answer.json).toEqual({
      processQueryKey: expect.any(String),
      invalidStaffIdList: ["nobody"],
      flowControlledStaffIdList: [],
    });
    expect(sim.sent).toMatchObject([{ userIds: ["staff001"] }]);
    expect((await sendUsers({ userIds: ["nobody"] })).status).toBe(200);
    expect(sim.sent).toHaveLength(1);
  });

  it("does not reach outsiders", async () => {
    sim.addUser({ staffId: "guest", name: "客人", outsider: true });
    expect((await sendUsers({ userIds: ["guest"] })).json).toMatchObject({ invalidStaffIdList: ["guest"] });
  });

  it.each([
    [{ robotCode: "" }, "invalidParameter.robotCode.empty"],
    [{ userIds: [] }, "invalidParameter.userIds.empty"],
    [{ userIds: "staff001" }, "invalidParameter.userIds.empty"],
    [{ userIds: Array.from({ length: 21 }, (_, i) => `u${i}`) }, "invalidParameter.userIds.overMax"],
    [{ userIds: [""] }, "invalidParameter.userId.empty"],
  ])("refuses %j with %s", async (more, code) => {
    expect(await sendUsers(more)).toMatchObject({ status: 400, json: { code } });
  });

  it("gives every send its own processQueryKey", async () => {
    const keys = [await sendUsers(), await sendUsers()].map((answer) => answer.json["processQueryKey"]);
    expect(new Set(keys).size).toBe(2);
  });

  it("needs the permission", async () => {
    await sim.close();
    sim = await startDingtalkSimulator({ apps: [{ ...app, missingScopes: ["qyapi_robot_sendmsg"] }] });
    expect(await sendUsers()).toMatchObject({
      status: 403,
      json: {
        code: "Forbidden.AccessDenied.AccessTokenPermissionDenied",
        accessdenieddetail: { requiredScopes: ["qyapi_robot_sendmsg"] },
      },
    });
  });
});

describe("what does not exist", () => {
  it.each([
    ["POST", "/v1.0/robot/typing"],
    ["GET", "/v1.0/robot/groupMessages/history"],
    ["GET", "/v1.0/robot/groupMessages/send"],
  ])("%s %s answers 404 and is a problem", async (method, path) => {
    const answer = await call(sim, path, method === "POST" ? {} : undefined, {}, method);
    expect(answer).toMatchObject({ status: 404, json: { code: "InvalidAction.NotFound" } });
    expect(sim.problems).toEqual([`no such API: ${method} ${path}`]);
  });
});
