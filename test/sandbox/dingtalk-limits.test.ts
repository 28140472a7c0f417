import { array, assert, integer, nat, property } from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SimulatorKnobs } from "../../src/sandbox/dingtalk-knobs.ts";
import { busiestWindow, SlidingWindow } from "../../src/sandbox/dingtalk-limits.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, call, connect, token, type Answer } from "./dingtalk-client.ts";

describe("SlidingWindow", () => {
  const arrivals = array(nat(300), { maxLength: 200 }).map((gaps) => {
    let now = 0;
    return gaps.map((gap) => (now += gap));
  });

  it("never lets more than the limit into any window, and never refuses without need", () => {
    assert(
      property(arrivals, integer({ min: 1, max: 10 }), (times, limit) => {
        const window = new SlidingWindow();
        const taken: number[] = [];
        for (const now of times) {
          const inWindow = taken.filter((time) => time > now - 1_000).length;
          expect(window.take(now, limit, 1_000)).toBe(inWindow < limit);
          if (inWindow < limit) taken.push(now);
        }
        expect(busiestWindow(taken, 1_000)).toBeLessThanOrEqual(limit);
      }),
    );
  });

  it("busiestWindow agrees with counting", () => {
    assert(
      property(arrivals, (times) => {
        const counts = times.map((end) => times.filter((t) => t > end - 1_000 && t <= end).length);
        expect(busiestWindow(times, 1_000)).toBe(Math.max(0, ...counts));
      }),
    );
  });
});

let sim: DingtalkSimulator;
beforeEach(async () => {
  sim = await startDingtalkSimulator({
    apps: [app, { appKey: "dingapp2", appSecret: "secret-2" }],
    groups: [{ conversationId: "cidGroup==", title: "测试群" }],
  });
});
afterEach(() => sim.close());

const param = { msgKey: "sampleText", msgParam: '{"content":"x"}' };
const calls = async (n: number, path: string, body: object): Promise<Answer[]> => {
  const headers = { "x-acs-dingtalk-access-token": await token(sim) };
  return Promise.all(Array.from({ length: n }, () => call(sim, path, body, headers)));
};
const groupBody = { robotCode: appKey, openConversationId: "cidGroup==", ...param };
const otoBody = { robotCode: appKey, userIds: ["staff001"], ...param };
const groups = (n: number): Promise<Answer[]> => calls(n, "/v1.0/robot/groupMessages/send", groupBody);
const otos = (n: number): Promise<Answer[]> => calls(n, "/v1.0/robot/oToMessages/batchSend", otoBody);
const refusals = (answers: Answer[]): unknown[] => answers.filter((a) => a.status !== 200).map((a) => a.json["code"]);

describe("rate limits", () => {
  it("let 20 calls a second through per app and API", async () => {
    // One window: it cannot move on while the calls are made.
    const [group, oto] = [await groups(25), await otos(20)];
    expect(refusals(group)).toEqual(Array.from({ length: 5 }, () => "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"));
    expect(group.find((a) => a.status !== 200)).toMatchObject({ status: 403, json: { requestid: expect.any(String) } });
    expect(group.find((a) => a.status !== 200)?.headers.get("retry-after")).toBeNull();
    expect(refusals(oto)).toEqual([]);
    expect(sim.sent).toHaveLength(40);
    expect(sim.busiest(60_000, { api: "groupMessages/send" })).toBe(25);
    expect(sim.busiest(60_000, { api: "groupMessages/send", ok: true })).toBe(20);
    expect(sim.calls({ app: appKey, conversationId: "cidGroup==", ok: true })).toHaveLength(20);
  });

  it.each<[Partial<SimulatorKnobs>, number, string]>([
    [{ qps: 1, throttleAnswer: 429 }, 429, "system.busy"],
    [{ qpm: 1 }, 403, "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi"],
    [{ platformQps: 1 }, 403, "Forbidden.AccessDenied.QpsLimitForApi"],
    [{ robotPerMinute: 1 }, 400, "toomuch.msg"],
    [{ groupPerMinute: 1 }, 400, "send.too.fast"],
  ])("with %j answer %i %s", async (knobs, status, code) => {
    sim.setKnobs(knobs);
    const answers = await groups(2);
    expect(answers.map((a) => a.status).toSorted((a, b) => a - b)).toEqual([200, status]);
    expect(refusals(answers)).toEqual([code]);
    expect(sim.sent).toHaveLength(1);
  });

  it("of one person are listed inside a 200", async () => {
    sim.setKnobs({ userPerMinute: 1 });
    const lists = (await otos(2)).map((a) => a.json["flowControlledStaffIdList"]);
    expect(lists).toContainEqual(["staff001"]);
    expect(lists).toContainEqual([]);
    expect(sim.sent).toHaveLength(1);
  });

  it("are off at 0", async () => {
    sim.setKnobs({ qps: 0 });
    expect(refusals(await groups(60))).toEqual([]);
  });

  it("of the address answer HTML or JSON to everything", async () => {
    await token(sim);
    sim.setKnobs({ ipCalls: 1 });
    const html = await call(sim, "/v1.0/oauth2/accessToken", {});
    expect(html).toMatchObject({ status: 403, text: expect.stringContaining("<html>") });
    sim.setKnobs({ ipBlockAnswer: "json" });
    const json = await call(sim, "/robot/sendBySession?session=x", {});
    expect(json).toMatchObject({ status: 200, json: { status: 1111, wait: 5, punish: "deny" } });
    sim.faults.clear();
    sim.setKnobs({ ipCalls: 0 });
    expect(await token(sim)).toMatch(/^[0-9a-f]{32}$/);
    sim.faults.blockIp();
    expect((await call(sim, "/gettoken")).json).toMatchObject({ status: 1111 });
  });
});

describe("monthly budgets", () => {
  it("count paid calls, not tokens, not throttled ones", async () => {
    sim.setKnobs({ qps: 3 });
    await groups(5);
    expect(sim.usage()).toEqual({ calls: 3, units: 0 });
  });

  it("end paid calls with 403", async () => {
    sim.setKnobs({ monthlyCalls: 1 });
    expect(refusals(await groups(2))).toEqual(["Forbidden.AccessDenied.ApiCountLimitForOrg"]);
    expect(refusals(await otos(1))).toEqual(["Forbidden.AccessDenied.ApiCountLimitForOrg"]);
    sim.usage().calls = 0;
    expect(refusals(await groups(1))).toEqual([]);
  });

  it("take one unit per message, once, and one per webhook reply", async () => {
    sim.setKnobs({ redeliverAfterMs: 5 });
    const client = await connect(sim);
    const body = (await sim.say({ text: "x" })).body as { sessionWebhook: string };
    await expect.poll(() => client.messages).toHaveLength(2);
    await call(sim, body.sessionWebhook.slice(sim.url.length), { msgtype: "text", text: { content: "y" } });
    expect(sim.usage()).toEqual({ calls: 0, units: 2 });
  });

  it("make the robot deaf: messages without body, webhooks with 90030", async () => {
    const before = (await sim.say({ text: "x" })).body as { sessionWebhook: string };
    sim.faults.exhaust("units");
    const after = (await sim.say({ text: "y" })).body;
    expect(after).toMatchObject({ msgtype: "text", errorCode: 20001, errorMessage: expect.stringContaining("超量") });
    expect(after).not.toHaveProperty("text");
    const answer = await call(sim, before.sessionWebhook.slice(sim.url.length), {
      msgtype: "text",
      text: { content: "z" },
    });
    expect(answer.json).toMatchObject({ errcode: 90030 });
    sim.setKnobs({ quotaKeys: "errCode", quotaCodeType: "string" });
    expect((await sim.say({ text: "z" })).body).toMatchObject({ errCode: "20001", errMsg: expect.any(String) });
  });
});
