import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OpenApi } from "../../src/dingtalk/open-api.ts";
import { TokenSource } from "../../src/dingtalk/token.ts";
import { systemClock } from "../../src/ops/clock.ts";
import { createMetrics, type Metrics } from "../../src/ops/metrics.ts";
import { type NamedError, namedErrors } from "../../src/sandbox/dingtalk-errors.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Caller, closedPort, startCaller, startServer } from "../support/dingtalk-http.ts";

const account = { name: "main", appKey: "dingapp1", appSecret: "secret-of-app-1", robotCode: "dingapp1" };
const text = { type: "text", text: "你好" } as const;
const sendApis = ["oToMessages/batchSend", "groupMessages/send"] as const;

let sim: DingtalkSimulator;
let caller: Caller;
let metrics: Metrics;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [{ appKey: account.appKey, appSecret: account.appSecret }] });
  caller = startCaller(2_000);
  metrics = createMetrics();
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await sim.close();
});

function openApi(apiBase = sim.url, from = caller): OpenApi {
  const { call, logger } = from;
  const tokens = new TokenSource({ account, apiBase, call, clock: systemClock, logger });
  return new OpenApi({ account, apiBase, call, tokens, logger, metrics });
}

async function groupId(): Promise<string> {
  const { body } = await sim.say({ text: "hi", group: "测试群" });
  return (body as { conversationId: string }).conversationId;
}

describe("a message", () => {
  test("to a person", async () => {
    const outcome = await openApi().sendToUser({ staffId: "staff001", content: text });
    expect(sim.sent).toMatchObject([{ userIds: ["staff001"], msgKey: "sampleText", text: "你好" }]);
    expect(outcome).toEqual({
      kind: "delivered",
      receipt: { route: "open-api", processQueryKey: sim.sent[0]?.processQueryKey, at: expect.any(Number) },
    });
    expect(sim.requests.at(-1)?.body).toEqual({
      robotCode: "dingapp1",
      userIds: ["staff001"],
      msgKey: "sampleText",
      msgParam: '{"content":"你好"}',
    });
    expect(sim.problems).toEqual([]);
  });

  test("to a group", async () => {
    const openConversationId = await groupId();
    const content = { type: "markdown", title: "标题", text: '# "标题"\n\n- a' } as const;
    const outcome = await openApi(`${sim.url}/`).sendToGroup({ openConversationId, content });
    expect(outcome).toMatchObject({ kind: "delivered", receipt: { route: "open-api", processQueryKey: /./ } });
    expect(sim.sent).toMatchObject([
      { msgKey: "sampleMarkdown", title: "标题", text: '# "标题"\n\n- a', conversationId: openConversationId },
    ]);
  });

  test("many at once take one token", async () => {
    const api = openApi();
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, () => api.sendToUser({ staffId: "staff001", content: text })),
    );
    expect(outcomes.every(({ kind }) => kind === "delivered")).toBe(true);
    expect(sim.calls({ api: "oauth2/accessToken" })).toHaveLength(1);
  });
});

describe("the addressee", () => {
  test("whom nobody knows", async () => {
    const outcome = await openApi().sendToUser({ staffId: "staff404", content: text });
    expect(outcome).toMatchObject({ kind: "rejected", code: "recipient_unknown" });
  });

  test("who gets too much", async () => {
    sim.setKnobs({ userPerMinute: 1 });
    const api = openApi();
    await api.sendToUser({ staffId: "staff001", content: text });
    expect(await api.sendToUser({ staffId: "staff001", content: text })).toMatchObject({
      kind: "retry",
      class: "peer-away",
      code: "recipient_throttled",
      afterMs: 60_000,
    });
    expect(await api.sendToUser({ staffId: "staff002", content: text })).toMatchObject({ kind: "delivered" });
  });

  test("that is a group that gets too much", async () => {
    sim.setKnobs({ groupPerMinute: 1 });
    const openConversationId = await groupId();
    const api = openApi();
    await api.sendToGroup({ openConversationId, content: text });
    expect(await api.sendToGroup({ openConversationId, content: text })).toMatchObject({ code: "recipient_throttled" });
  });

  test("that is no group", async () => {
    const outcome = await openApi().sendToGroup({ openConversationId: "cidNowhere==", content: text });
    expect(outcome).toMatchObject({ kind: "rejected", code: "recipient_unknown" });
  });

  test("who gets something too long", async () => {
    const content = { type: "text", text: "字".repeat(6_000) } as const;
    expect(await openApi().sendToUser({ staffId: "staff001", content })).toMatchObject({
      kind: "rejected",
      code: "message_too_long",
    });
  });
});

const wait = (code: string, afterMs: number) => ({ kind: "retry", class: "peer-away", code, afterMs });
const busy = { kind: "retry", class: "entry", code: "dingtalk_unavailable" };
const unknown = { kind: "retry", class: "entry", code: "dingtalk_rejected" };
const badToken = wait("dingtalk_bad_credentials", 60_000);

/** Every published error of the simulator; on the send APIs the token errors are those of a token that stays refused. */
const REFUSALS: Record<NamedError, object> = {
  invalidAuthentication: badToken,
  oapiInvalidToken: badToken,
  unauthorized: badToken,
  authFailed: badToken,
  permissionDenied: wait("dingtalk_permission_missing", 60_000),
  ipNotInWhiteList: wait("dingtalk_ip_not_allowed", 60_000),
  qpsLimit: wait("dingtalk_throttled", 2_000),
  qpmLimit: wait("dingtalk_throttled", 60_000),
  qpsLimitForApi: wait("dingtalk_throttled", 2_000),
  tooManyRequests: wait("dingtalk_throttled", 2_000),
  oapiQpsLimit: wait("dingtalk_throttled", 2_000),
  ipBlockedHtml: wait("dingtalk_ip_blocked", 300_000),
  ipBlockedJson: wait("dingtalk_ip_blocked", 300_000),
  apiCountLimit: wait("dingtalk_quota_exhausted", 3_600_000),
  oapiCountLimit: wait("dingtalk_quota_exhausted", 3_600_000),
  webhookOverLimit: wait("dingtalk_quota_exhausted", 3_600_000),
  robotTooMuch: wait("dingtalk_throttled", 60_000),
  sendTooFast: wait("recipient_throttled", 60_000),
  webhookTooFast: wait("recipient_throttled", 60_000),
  webhookThrottled: wait("recipient_throttled", 60_000),
  systemError: busy,
  unknownError: busy,
  systemBusy: busy,
  oapiBusy: busy,
  webhookTransient: busy,
  badGateway: busy,
  unavailable: { kind: "retry", class: "peer-away", code: "dingtalk_unavailable" },
  gatewayTimeout: { kind: "uncertain", code: "dingtalk_timeout" },
  sessionUnknown: { kind: "rejected", code: "webhook_expired" },
  plainHttpHtml: wait("dingtalk_bad_answer", 60_000),
  notFound: unknown,
  missingBody: unknown,
};

describe.each(sendApis)("what %s refuses", (name) => {
  test.each(namedErrors)("%s", async (error) => {
    const openConversationId = await groupId();
    sim.faults.api(name, { kind: "error", error });
    const api = openApi();
    const outcome =
      name === "groupMessages/send"
        ? await api.sendToGroup({ openConversationId, content: text })
        : await api.sendToUser({ staffId: "staff001", content: text });
    expect(outcome).toMatchObject(REFUSALS[error]);
    expect(sim.sent).toEqual([]);
  });
});

describe("an access token", () => {
  test("that has expired is renewed at once, and the message arrives", async () => {
    const api = openApi();
    await api.sendToUser({ staffId: "staff001", content: text });
    sim.faults.expireTokens();
    expect(await api.sendToUser({ staffId: "staff001", content: text })).toMatchObject({ kind: "delivered" });
    expect(sim.sent).toHaveLength(2);
    expect(sim.calls({ api: "oauth2/accessToken" })).toHaveLength(2);
    expect((await metrics.sends.get()).values).toMatchObject([
      { value: 2, labels: { account: "main", endpoint: "robot/oToMessages/batchSend", code: "ok" } },
      {
        value: 1,
        labels: { account: "main", endpoint: "robot/oToMessages/batchSend", code: "dingtalk_bad_credentials" },
      },
    ]);
  });

  test("that stays refused is renewed once only", async () => {
    sim.faults.api("oToMessages/batchSend", { kind: "error", error: "invalidAuthentication" });
    expect(await openApi().sendToUser({ staffId: "staff001", content: text })).toMatchObject(badToken);
    expect(sim.calls({ api: "oToMessages/batchSend" })).toHaveLength(2);
    expect(sim.calls({ api: "oauth2/accessToken" })).toHaveLength(2);
  });

  test("that cannot be had: nothing is sent, nothing is lost", async () => {
    sim.faults.api("oauth2/accessToken", { kind: "hang" });
    await caller[Symbol.asyncDispose]();
    caller = startCaller(200);
    const api = openApi();
    const first = await api.sendToUser({ staffId: "staff001", content: text });
    const second = await api.sendToUser({ staffId: "staff001", content: text });
    expect([first, second]).toMatchObject([
      { kind: "retry", class: "peer-away", code: "dingtalk_timeout" },
      { kind: "retry", class: "peer-away", code: "dingtalk_timeout" },
    ]);
    expect(sim.calls({ api: "oToMessages/batchSend" })).toEqual([]);
    expect(sim.calls({ api: "oauth2/accessToken" })).toHaveLength(1);
  });

  test("for which the credentials are wrong", async () => {
    sim.faults.api("oauth2/accessToken", {
      kind: "answer",
      status: 400,
      body: { code: "invalidClientIdOrSecret", message: "无效的clientId或者clientSecret" },
    });
    expect(await openApi().sendToUser({ staffId: "staff001", content: text })).toMatchObject({
      ...badToken,
      detail: expect.stringContaining("凭证与基础信息"),
    });
  });
});

describe("the network", () => {
  test.each([
    ["reset", { kind: "uncertain", code: "dingtalk_unavailable" }],
    ["hang", { kind: "uncertain", code: "dingtalk_timeout" }],
    ["truncated", { kind: "uncertain", code: "dingtalk_bad_answer" }],
    ["shortBody", { kind: "uncertain", code: "dingtalk_bad_answer" }],
  ] as const)("%s after the message arrived", async (kind, expected) => {
    await caller[Symbol.asyncDispose]();
    caller = startCaller(300);
    sim.faults.api("oToMessages/batchSend", { kind, executed: true });
    expect(await openApi().sendToUser({ staffId: "staff001", content: text })).toMatchObject(expected);
    expect(sim.sent).toHaveLength(1);
  });

  test("refused: surely not sent", async () => {
    const api = openApi(`http://127.0.0.1:${await closedPort()}`);
    expect(await api.sendToUser({ staffId: "staff001", content: text })).toMatchObject({
      kind: "retry",
      class: "peer-away",
      code: "dingtalk_unreachable",
    });
  });

  test("gone between token and message: surely not sent", async () => {
    const { call, logger } = caller;
    const tokens = new TokenSource({ account, apiBase: sim.url, call, clock: systemClock, logger });
    const apiBase = `http://127.0.0.1:${await closedPort()}`;
    const api = new OpenApi({ account, apiBase, call, tokens, logger, metrics });
    expect(await api.sendToUser({ staffId: "staff001", content: text })).toMatchObject({
      kind: "retry",
      class: "peer-away",
      code: "dingtalk_unreachable",
    });
    expect(sim.calls({ api: "oauth2/accessToken", ok: true })).toHaveLength(1);
  });

  test.each([
    ["token", { kind: "retry", class: "peer-away", code: "interrupted" }],
    ["message", { kind: "uncertain", code: "interrupted" }],
  ])("given up while the %s was on its way", async (stage, expected) => {
    const giveUp = new AbortController();
    await using server = await startServer((request, response) => {
      const isToken = request.url === "/v1.0/oauth2/accessToken";
      if (isToken === (stage === "token")) giveUp.abort();
      else response.end('{"accessToken":"t1","expireIn":7200}');
    });
    const message = { staffId: "staff001", content: text, signal: giveUp.signal };
    expect(await openApi(server.url).sendToUser(message)).toMatchObject(expected);
  });
});

describe("a recall", () => {
  /** Answers token calls, and recalls with what is queued. */
  async function startRecallApi(...answers: { status?: number; body: unknown }[]) {
    const asked: { url: string; body: unknown }[] = [];
    const server = await startServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const isToken = request.url === "/v1.0/oauth2/accessToken";
        if (!isToken) asked.push({ url: request.url ?? "", body: JSON.parse(Buffer.concat(chunks).toString()) });
        const { status = 200, body } = isToken
          ? { body: { accessToken: "t1", expireIn: 7200 } }
          : (answers.shift() ?? { body: {} });
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
    });
    return { url: server.url, asked, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  }

  test("of a 1:1 message and of a group message", async () => {
    const done = { body: { successResult: ["key1"], failedResult: {} } };
    await using server = await startRecallApi(done, done);
    const api = openApi(server.url);
    expect(await api.recall({ processQueryKey: "key1" })).toEqual({ kind: "delivered" });
    expect(await api.recall({ processQueryKey: "key1", openConversationId: "cid1==" })).toEqual({ kind: "delivered" });
    expect(server.asked).toEqual([
      { url: "/v1.0/robot/otoMessages/batchRecall", body: { robotCode: "dingapp1", processQueryKeys: ["key1"] } },
      {
        url: "/v1.0/robot/groupMessages/recall",
        body: { robotCode: "dingapp1", openConversationId: "cid1==", processQueryKeys: ["key1"] },
      },
    ]);
    expect((await metrics.sends.get()).values.map(({ labels }) => labels.endpoint)).toEqual([
      "robot/otoMessages/batchRecall",
      "robot/groupMessages/recall",
    ]);
  });

  test.each([
    ["too late", 400, { code: "robot.processQueryKey.expired" }, { kind: "rejected", code: "not_cancellable" }],
    ["failed", 200, { failedResult: { key1: "已被撤回" } }, { kind: "rejected", code: "not_cancellable" }],
    [
      "without an answer, which may be repeated",
      504,
      {},
      { kind: "retry", class: "peer-away", code: "dingtalk_timeout" },
    ],
  ])("%s", async (_name, status, body, expected) => {
    await using server = await startRecallApi({ status, body });
    expect(await openApi(server.url).recall({ processQueryKey: "key1" })).toMatchObject(expected);
  });
});

describe("what is told", () => {
  test("names the request, and neither secret nor token, even when the answer quotes them", async () => {
    const token = "token-5f0c9a1b2c3d4e5f";
    await using server = await startServer((request, response) => {
      const isToken = request.url === "/v1.0/oauth2/accessToken";
      response.writeHead(isToken ? 200 : 400, { "x-acs-request-id": isToken ? "REQ-TOKEN" : "REQ-SEND" });
      const sent = request.headers["x-acs-dingtalk-access-token"];
      const code = sent === undefined ? undefined : "InvalidAuthentication";
      const refusal = { code, message: `不合法的access_token ${String(sent)} of ${account.appSecret}` };
      response.end(JSON.stringify(isToken ? { accessToken: token, expireIn: 7200 } : refusal));
    });
    const outcomes = [await openApi(server.url).sendToUser({ staffId: "staff001", content: text })];
    outcomes.push(await openApi().sendToUser({ staffId: "staff001", content: text }));
    outcomes.push(
      await openApi(`http://127.0.0.1:${await closedPort()}`).sendToUser({ staffId: "staff001", content: text }),
    );

    expect(outcomes[0]).toMatchObject({ ...badToken, detail: expect.stringContaining("(request REQ-SEND)") });
    const everything = JSON.stringify(outcomes) + caller.logged();
    expect(caller.logged()).toContain("REQ-TOKEN");
    expect(caller.logged()).toContain("REQ-SEND");
    expect(everything).not.toContain(token);
    expect(everything).not.toContain(account.appSecret);
  });

  test("is counted and timed", async () => {
    const api = openApi();
    await api.sendToUser({ staffId: "staff001", content: text });
    sim.faults.api("oToMessages/batchSend", { kind: "error", error: "qpsLimit" });
    await api.sendToUser({ staffId: "staff001", content: text });
    expect((await metrics.sends.get()).values).toMatchObject([
      { value: 1, labels: { account: "main", endpoint: "robot/oToMessages/batchSend", code: "ok" } },
      { value: 1, labels: { account: "main", endpoint: "robot/oToMessages/batchSend", code: "dingtalk_throttled" } },
    ]);
    expect(await metrics.registry.metrics()).toContain(
      'dingtalk_bridge_send_seconds_count{endpoint="robot/oToMessages/batchSend"} 2',
    );
  });
});
