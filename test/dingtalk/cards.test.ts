import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CardApi, type NewCard } from "../../src/dingtalk/cards.ts";
import { TokenSource } from "../../src/dingtalk/token.ts";
import { systemClock } from "../../src/ops/clock.ts";
import { createMetrics, type Metrics } from "../../src/ops/metrics.ts";
import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Caller, closedPort, startCaller } from "../support/dingtalk-http.ts";

const account = { name: "main", appKey: "dingapp1", appSecret: "secret-of-app-1", robotCode: "dingapp1" };
const group = { conversationId: "cidGroup==", title: "测试群" };
const outTrackId = "br_1";
const inDirect: NewCard = {
  outTrackId,
  templateId: publicTemplate,
  params: { msgContent: "", status: "new" },
  to: { staffId: "staff001" },
};
const inGroup: NewCard = { ...inDirect, to: { openConversationId: group.conversationId } };
const step = { outTrackId, guid: "g1", key: "msgContent", content: "你好" };

let sim: DingtalkSimulator;
let caller: Caller;
let metrics: Metrics;
let cards: CardApi;

beforeEach(async () => {
  caller = startCaller(2_000);
  await start();
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await sim.close();
});

async function start(missingScopes: string[] = []): Promise<void> {
  const app = { appKey: account.appKey, appSecret: account.appSecret, missingScopes };
  sim = await startDingtalkSimulator({ apps: [app], groups: [group] });
  metrics = createMetrics();
  cards = cardApi();
}

function cardApi(apiBase = sim.url): CardApi {
  const { call, logger } = caller;
  const tokens = new TokenSource({ account, apiBase, call, clock: systemClock, logger });
  return new CardApi({ account, apiBase, call, tokens, logger, metrics });
}

function card(): SimulatedCard {
  const found = sim.card(outTrackId);
  if (!found) throw new Error("no card");
  return found;
}

const peerAway = (code: string) => ({ kind: "retry", class: "peer-away", code });
const answer = (body: unknown) => ({ kind: "answer", status: 200, body, count: 1 }) as const;

describe("a new card", () => {
  test("for a person", async () => {
    const privateParams = { staff001: { voted: "0" } };
    const outcome = await cards.create({ ...inDirect, privateParams, summary: "AI 回复" });
    expect(outcome).toEqual({
      kind: "delivered",
      receipt: { route: "open-api", processQueryKey: card().carrierId, at: expect.any(Number) },
    });
    expect(card()).toMatchObject({
      delivered: true,
      spaceType: "IM_ROBOT",
      userId: "staff001",
      params: inDirect.params,
      privateParams,
      callbackType: "STREAM",
      summary: { ZH_CN: "AI 回复", EN_US: "AI 回复" },
    });
    expect(sim.requests.at(-1)?.body).toMatchObject({
      openSpaceId: "dtv1.card//IM_ROBOT.staff001",
      imRobotOpenDeliverModel: { spaceType: "IM_ROBOT", robotCode: "dingapp1" },
    });
    expect(sim.problems).toEqual([]);
    expect((await metrics.sends.get()).values).toMatchObject([
      { value: 1, labels: { endpoint: "card/instances/createAndDeliver", code: "ok" } },
    ]);
  });

  test("for a group, with mentions", async () => {
    const userIds = Array.from({ length: 60 }, (_, i) => `staff${i}`);
    expect(await cards.create({ ...inGroup, mentions: { userIds, all: true } })).toMatchObject({ kind: "delivered" });
    expect(card()).toMatchObject({
      conversationId: group.conversationId,
      spaceType: "IM_GROUP",
      cardAtUserIds: userIds.slice(0, 50),
      atUserIds: { "@ALL": "@ALL" },
      summary: {},
    });
    expect(sim.problems).toEqual([]);
  });

  test("that is there already counts as delivered, and is there once", async () => {
    sim.setKnobs({ gatewayTimeoutMs: 0 });
    sim.faults.api("card/instances/createAndDeliver", { kind: "gatewayTimeout", executed: true, count: 1 });
    expect(await cards.create(inDirect)).toEqual({ ...peerAway("dingtalk_timeout"), detail: expect.any(String) });
    expect(await cards.create(inDirect)).toEqual({
      kind: "delivered",
      receipt: { route: "open-api", at: expect.any(Number) },
    });
    expect(sim.cards).toHaveLength(1);
    expect(card()).toMatchObject({ deliveries: 1 });
  });

  test("whose delivery fails within a 200 is delivered by the next try", async () => {
    sim.setKnobs({ cardDeliverError: "SYSTEM_ERROR" });
    const failed = {
      kind: "retry",
      class: "entry",
      code: "dingtalk_unavailable",
      detail: expect.stringContaining("SYSTEM_ERROR"),
    };
    expect(await cards.create(inGroup)).toMatchObject(failed);
    expect(await cards.create(inGroup)).toMatchObject(failed);
    sim.setKnobs({ cardDeliverError: "" });
    expect(await cards.create(inGroup)).toMatchObject({
      kind: "delivered",
      receipt: { processQueryKey: expect.stringMatching(/./) },
    });
    expect(sim.cards).toMatchObject([{ delivered: true, deliveries: 1 }]);
    expect(sim.requests.slice(1).map(({ api }) => api.split("/").at(-1))).toEqual(["createAndDeliver", "deliver", "deliver"]); // prettier-ignore
    expect(await cards.create(inGroup)).toMatchObject({ kind: "delivered" });
    expect(card()).toMatchObject({ deliveries: 1 });
  });

  test("whose failed delivery left nothing is created again", async () => {
    sim.setKnobs({ cardDeliverError: "投放失败", cardKeptUndelivered: false });
    expect(await cards.create(inDirect)).toMatchObject({ kind: "retry", class: "entry", code: "dingtalk_rejected" });
    sim.setKnobs({ cardDeliverError: "" });
    expect(await cards.create(inDirect)).toMatchObject({ kind: "delivered" });
    expect(card()).toMatchObject({ deliveries: 1 });
  });

  test.each<[string, Partial<NewCard>, string]>([
    ["an unknown template", { templateId: "none.schema" }, "card_template_missing"],
    ["an unpublished template", { templateId: "draft.schema" }, "card_template_missing"],
    ["a person nobody knows", { to: { staffId: "staff404" } }, "recipient_unknown"],
    ["a conversation id for a person", { to: { staffId: "cidDirect==" } }, "recipient_unknown"],
    ["a group nobody knows", { to: { openConversationId: "cidNowhere==" } }, "recipient_unknown"],
    ["no id at all", { to: { staffId: "" } }, "recipient_unknown"],
    ["two spaces in one id", { to: { staffId: "staff001;IM_ROBOT.staff002" } }, "recipient_unknown"],
  ])("with %s", async (_name, more, code) => {
    sim.setKnobs({ cardTemplatesUnpublished: ["draft.schema"] });
    expect(await cards.create({ ...inDirect, ...more })).toMatchObject({ kind: "rejected", code });
    expect(sim.cards.filter(({ delivered }) => delivered)).toEqual([]);
  });

  test("with a conversation id for a person is not taken for one that exists on the next try", async () => {
    const wrong = { ...inDirect, to: { staffId: "cidDirect==" } };
    await cards.create(wrong);
    expect(await cards.create(wrong)).toMatchObject({ kind: "rejected", code: "recipient_unknown" });
  });

  test.each([
    [{ success: true }, "rejected", "dingtalk_bad_answer"],
    [{ success: true, result: { deliverResults: [] } }, "rejected", "dingtalk_bad_answer"],
    [{ success: true, result: { deliverResults: [{}] } }, "retry", "dingtalk_rejected"],
    [{ success: true, result: { deliverResults: [{ success: false, errorCode: "send.too.fast" }] } }, "retry", "recipient_throttled"], // prettier-ignore
    [{ success: false, errorMsg: "x" }, "retry", "dingtalk_rejected"],
  ])("answered with %j", async (body, kind, code) => {
    sim.faults.api("card/instances/createAndDeliver", answer(body));
    expect(await cards.create(inDirect)).toMatchObject({ kind, code });
  });

  test("without a carrier is delivered all the same", async () => {
    const body = { success: true, result: { deliverResults: [{ success: true, carrierId: "" }] } };
    sim.faults.api("card/instances/createAndDeliver", answer(body));
    expect(await cards.create(inDirect)).toEqual({
      kind: "delivered",
      receipt: { route: "open-api", at: expect.any(Number) },
    });
  });
});

describe("an update", () => {
  test("keeps what it does not name", async () => {
    await cards.create({ ...inDirect, privateParams: { staff001: { a: "1" } } });
    await cards.stream(step);
    const privateParams = { staff001: { b: "2" } };
    expect(await cards.update({ outTrackId, params: { status: "done" }, privateParams })).toEqual({
      kind: "delivered",
    });
    expect(card()).toMatchObject({
      params: { msgContent: "你好", status: "done" },
      privateParams: { staff001: { a: "1", b: "2" } },
    });
    expect(await cards.update({ outTrackId, params: {}, privateParams: { staff001: { a: "3" } } })).toEqual({ kind: "delivered" }); // prettier-ignore
    expect(card()).toMatchObject({ params: { status: "done" }, privateParams: { staff001: { a: "3", b: "2" } } });
    expect(sim.problems).toEqual([]);
  });

  test("of a card that is not there", async () => {
    const expected = { kind: "rejected", code: "card_unknown" };
    expect(await cards.update({ outTrackId: "br_404", params: { a: "" } })).toMatchObject(expected);
    expect(await cards.stream({ ...step, outTrackId: "br_404" })).toMatchObject(expected);
  });

  test.each([{}, { success: true, result: false }])("answered with %j proves nothing", async (body) => {
    await cards.create(inDirect);
    sim.faults.api("card/instances/update", answer(body));
    const outcome = await cards.update({ outTrackId, params: { a: "" } });
    expect(outcome).toMatchObject({ kind: "rejected", code: "dingtalk_bad_answer" });
  });
});

describe("streaming", () => {
  test("up to the end, the last step twice", async () => {
    await cards.create(inDirect);
    expect(await cards.stream(step)).toEqual({ kind: "delivered" });
    expect(card()).toMatchObject({ flowStatus: "2", content: { msgContent: "你好" } });
    const last = { ...step, guid: "g2", content: "你好。", isFinalize: true };
    sim.faults.api("card/streaming", { kind: "reset", executed: true, count: 1 });
    expect(await cards.stream(last)).toMatchObject(peerAway("dingtalk_unavailable"));
    expect(await cards.stream(last)).toEqual({ kind: "delivered" });
    expect(card()).toMatchObject({ flowStatus: "3", streamed: 2, content: { msgContent: "你好。" } });
    expect(sim.problems).toEqual([]);
  });

  test("to a failure", async () => {
    await cards.create(inDirect);
    await cards.stream({ ...step, isError: true });
    expect(card()).toMatchObject({ flowStatus: "5" });
  });

  test.each([
    ["no text", { content: "" }, { kind: "rejected", code: "dingtalk_rejected" }],
    ["too much text", { content: "字".repeat(7_000) }, { kind: "rejected", code: "message_too_long" }],
    ["another variable", { key: "other" }, { kind: "retry", class: "entry", code: "dingtalk_unavailable" }],
  ])("refused: %s", async (_name, more, expected) => {
    await cards.create(inDirect);
    expect(await cards.stream({ ...step, ...more })).toMatchObject(expected);
  });
});

describe("DingTalk and the network", () => {
  test.each([
    ["Card.Instance.Write", () => cards.create(inDirect)],
    ["Card.Streaming.Write", () => cards.create(inDirect).then(() => cards.stream(step))],
  ])("lack the permission %s", async (scope, act) => {
    await sim.close();
    await start([scope]);
    expect(await act()).toMatchObject({
      ...peerAway("dingtalk_permission_missing"),
      detail: expect.stringContaining(`required: ${scope}`),
    });
  });

  test.each([
    ["qpsLimit", { ...peerAway("dingtalk_throttled"), afterMs: 2_000 }],
    ["tooManyRequests", { ...peerAway("dingtalk_throttled"), afterMs: 2_000 }],
    ["apiCountLimit", peerAway("dingtalk_quota_exhausted")],
    ["systemBusy", { kind: "retry", class: "entry", code: "dingtalk_unavailable" }],
    ["gatewayTimeout", peerAway("dingtalk_timeout")],
    ["invalidAuthentication", peerAway("dingtalk_bad_credentials")],
  ] as const)("%s", async (error, expected) => {
    await cards.create(inDirect);
    sim.faults.api("*", { kind: "error", error });
    sim.faults.api("oauth2/accessToken", { kind: "slow" });
    const { outTrackId: id } = step;
    const outcomes = [
      await cards.create({ ...inDirect, outTrackId: "br_2" }),
      await cards.update({ outTrackId: id, params: { a: "" } }),
      await cards.stream(step),
    ];
    expect(outcomes).toMatchObject([expected, expected, expected]);
  });

  test("a truncated answer is repeated: nothing happens twice", async () => {
    sim.faults.api("card/instances/createAndDeliver", { kind: "truncated", count: 1 });
    expect(await cards.create(inDirect)).toMatchObject(peerAway("dingtalk_bad_answer"));
    expect(await cards.create(inDirect)).toMatchObject({ kind: "delivered" });
    expect(card()).toMatchObject({ deliveries: 1 });
  });

  test("not reached, or given up", async () => {
    const away = cardApi(`http://127.0.0.1:${await closedPort()}`);
    expect(await away.create(inDirect)).toMatchObject(peerAway("dingtalk_unreachable"));
    expect(await cards.create(inDirect, AbortSignal.abort())).toMatchObject(peerAway("interrupted"));
    expect(sim.cards).toEqual([]);
  });
});
