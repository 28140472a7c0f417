import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { failureOfCall, type Judged, judge, judgeRecall, judgeSend, judgeWebhook } from "../../src/dingtalk/answers.ts";
import { knownCodes, ruleOf } from "../../src/dingtalk/codes.ts";
import { type AnswerBody, CallError, type HttpAnswer } from "../../src/dingtalk/http.ts";

const isBody = (body: object): body is AnswerBody => "kind" in body;
const answer = (status: number, body: object, headers: Record<string, string> = {}): HttpAnswer => ({
  status,
  headers,
  body: isBody(body) ? body : { kind: "json", value: body },
  requestId: undefined,
});
const api = (status: number, code: string): HttpAnswer => answer(status, { code, message: "文本", requestid: "R" });
const oapi = (errcode: unknown, rest: object = {}): HttpAnswer => answer(200, { errcode, errmsg: "文本", ...rest });

const peerAway = (code: string, afterMs?: number) => ({ kind: "retry", class: "peer-away", code, afterMs });
const entry = (code: string) => ({ kind: "retry", class: "entry", code });
const rejected = (code = "dingtalk_rejected") => ({ kind: "rejected", code });
const uncertain = (code: string) => ({ kind: "uncertain", code });
const token = { kind: "token" };
const denied = (what: string): string => `Forbidden.AccessDenied.${what}`;

const apiSecond = peerAway("dingtalk_throttled", 2_000);
const apiMinute = peerAway("dingtalk_throttled", 60_000);
const conversation = peerAway("recipient_throttled", 60_000);
const quota = peerAway("dingtalk_quota_exhausted", 3_600_000);
const blocked = peerAway("dingtalk_ip_blocked", 300_000);
const stranger = peerAway("dingtalk_bad_answer", 60_000);
const busy = entry("dingtalk_unavailable");

describe("what an answer means", () => {
  const rows: [string, HttpAnswer, object][] = [
    ["400 InvalidAuthentication", api(400, "InvalidAuthentication"), token],
    ["401 with any code", api(401, "unauthorized"), token],
    ["401 without a body", answer(401, { kind: "other" }), token],
    ["401 with wrong credentials", api(401, "authFailed"), peerAway("dingtalk_bad_credentials", 60_000)],
    ["oapi 40014", oapi(40014), token],
    ["oapi 42001 as a string", oapi("42001"), token],
    ["oapi 88 with a subcode", oapi(88, { sub_code: "isv.invalid-token" }), token],
    ["oapi 88 with a throttle as its subcode", oapi(88, { sub_code: "90018" }), apiSecond],
    ["oapi 88 without a subcode", oapi(88, { sub_code: "" }), uncertain("dingtalk_timeout")],
    ["oapi 15", oapi(15, { sub_code: "isp.top-remote-connection-timeout" }), uncertain("dingtalk_timeout")],

    ["wrong credentials", api(400, "invalidClientIdOrSecret"), peerAway("dingtalk_bad_credentials", 60_000)],
    [
      "permission missing",
      api(403, denied("AccessTokenPermissionDenied")),
      peerAway("dingtalk_permission_missing", 60_000),
    ],
    ["oapi 60011", oapi(60011), peerAway("dingtalk_permission_missing", 60_000)],
    ["address not on the list", api(403, denied("IpNotInWhiteList")), peerAway("dingtalk_ip_not_allowed", 60_000)],
    ["oapi 60020", oapi(60020), peerAway("dingtalk_ip_not_allowed", 60_000)],

    ["month's calls used up", api(403, denied("ApiCountLimitForOrg")), quota],
    ["oapi 90020", oapi(90020), quota],
    ["oapi 90030", oapi(90030), quota],

    ["QpsLimitForAppkeyAndApi", api(403, denied("QpsLimitForAppkeyAndApi")), apiSecond],
    ["QpsLimitForSuitekeyAndOrgAndApi", api(403, denied("QpsLimitForSuitekeyAndOrgAndApi")), apiSecond],
    ["QpsLimitForApi", api(403, denied("QpsLimitForApi")), apiSecond],
    ["a QpsLimit of tomorrow", api(403, denied("QpsLimitForMoon")), apiSecond],
    ["QpmLimitForAppkeyAndApi", api(403, denied("QpmLimitForAppkeyAndApi")), apiMinute],
    ["429 system.busy", api(429, "system.busy"), apiSecond],
    ["429 without a body", answer(429, { kind: "other" }), apiSecond],
    ["429 with the month's quota", api(429, denied("ApiCountLimitForOrg")), quota],
    ["oapi 90018", oapi(90018), apiSecond],
    ["oapi 90002", oapi(90002), apiSecond],
    ["oapi 90014", oapi(90014), apiMinute],
    ["toomuch.msg", api(400, "toomuch.msg"), apiMinute],
    ["send.too.fast", api(400, "send.too.fast"), conversation],
    ["send.byToken.tooFast", api(400, "send.byToken.tooFast"), conversation],
    ["too.many.group", api(400, "too.many.group"), conversation],
    ["too.many.people", api(400, "too.many.people"), conversation],
    ["oapi 130101", oapi(130101), conversation],
    ["oapi 410100", oapi("410100"), conversation],
    ["status 1111", answer(200, { status: 1111, wait: 5, source: "x5", punish: "deny" }), blocked],
    ["status 1111 with 403", answer(403, { status: "1111" }), blocked],
    ["200 with an HTML page", answer(200, { kind: "html" }), blocked],
    ["403 with an HTML page", answer(403, { kind: "html" }), blocked],

    ["500 system.error", api(500, "system.error"), busy],
    ["500 with an unknown code", api(500, "who.knows"), busy],
    ["500 with an HTML page", answer(500, { kind: "html" }), busy],
    ["502 whose body broke off", answer(502, { kind: "incomplete" }), busy],
    ["503", api(503, "ServiceUnavailable"), peerAway("dingtalk_unavailable")],
    ["503 system.busy", api(503, "system.busy"), peerAway("dingtalk_unavailable")],
    ["503 operationTimeout", api(503, "operationTimeout"), uncertain("dingtalk_timeout")],
    ["504", api(504, "service.timeout"), uncertain("dingtalk_timeout")],
    ["504 with a known code", api(504, "system.error"), uncertain("dingtalk_timeout")],
    ["504 with an HTML page", answer(504, { kind: "html" }), uncertain("dingtalk_timeout")],
    ["oapi -1", oapi(-1), busy],
    ["oapi 500100", oapi(500100), busy],
    ["unknown.send.result", api(400, "unknown.send.result"), uncertain("dingtalk_bad_answer")],

    ["oapi 300001", oapi(300001), rejected("webhook_expired")],
    ["staffId.notExisted", api(400, "staffId.notExisted"), rejected("recipient_unknown")],
    ["robot.oto.notExist", api(400, "robot.oto.notExist"), rejected("recipient_unknown")],
    ["invalid.openConversationId", api(400, "invalid.openConversationId"), rejected("recipient_unknown")],
    ["group.disbanded", api(400, "group.disbanded"), rejected("recipient_unknown")],
    ["oapi 400013", oapi(400013), rejected("recipient_unknown")],
    ["msgParam too long", api(400, "invalidParameter.msgParam.tooLong"), rejected("message_too_long")],
    ["oapi 460101", oapi(460101), rejected("message_too_long")],
    ["413", answer(413, { kind: "html" }), rejected("message_too_long")],
    ["too old to recall", api(400, "robot.processQueryKey.expired"), rejected("not_cancellable")],
    ["the robot is muted", api(400, "bot.forbidden.sendMessage"), rejected()],
    ["in another case", api(400, "BOT.STOPPED"), rejected()],
    ["oapi 401102", oapi(401102), rejected()],
    ["500 parameter.media.wrong", api(500, "parameter.media.wrong"), rejected("media_expired")],
    ["invalid.media.id", api(400, "invalid.media.id"), rejected("media_expired")],
    ["oapi 40005", oapi(40005), rejected("media_unsupported")],
    ["oapi 40006", oapi(40006), rejected("media_too_large")],
    ["oapi 44001", oapi(44001), rejected("media_empty")],
    ["a family: miss.param", api(400, "miss.param.markdownTotext"), rejected()],
    ["a family: param.dynamic", api(400, "param.dynamicSourceIdEmpty"), rejected()],

    ["an unknown 400", api(400, "who.knows"), entry("dingtalk_rejected")],
    ["an unknown 404", api(404, "InvalidAction.NotFound"), entry("dingtalk_rejected")],
    ["a 400 whose body broke off", answer(400, { kind: "incomplete" }), entry("dingtalk_rejected")],
    ["an unknown errcode", oapi(999_999), entry("dingtalk_rejected")],
    ["success: false", answer(200, { success: false, errorMsg: "x" }), entry("dingtalk_rejected")],
    ["success: false with a code", answer(200, { success: false, errorCode: "send.too.fast" }), conversation],
    ["success: false as a string", answer(200, { success: "false" }), entry("dingtalk_rejected")],
    ["a code in a 200", answer(200, { code: "bot.stopped", processQueryKey: "k" }), rejected()],
    [
      "an undelivered space",
      answer(200, {
        success: true,
        result: { deliverResults: [{ success: true }, { success: false, errorMsg: "spaceId is illegal" }] },
      }),
      entry("dingtalk_rejected"),
    ],

    ["400 with an HTML page", answer(400, { kind: "html" }), stranger],
    ["a redirect", answer(302, { kind: "other" }), stranger],
    ["407 of a proxy", answer(407, { kind: "html" }), stranger],
    ["200 with truncated JSON", answer(200, { kind: "other" }), uncertain("dingtalk_bad_answer")],
    ["200 whose body broke off", answer(200, { kind: "incomplete" }), uncertain("dingtalk_bad_answer")],
    ["200 with a list", answer(200, { kind: "json", value: [] }), uncertain("dingtalk_bad_answer")],
    ["200 with null", answer(200, { kind: "json", value: null }), uncertain("dingtalk_bad_answer")],
  ];

  test.each(rows)("%s", (_name, given, expected) => {
    const { detail, ...judged } = judge(given) as { detail: string };
    expect({ afterMs: undefined, ...judged }).toEqual({ afterMs: undefined, ...expected });
    expect(detail).toContain(String(given.status));
  });

  test.each([
    { errcode: 0 },
    { errcode: "0", errmsg: "ok" },
    { success: true },
    { code: 200 },
    { processQueryKey: "k" },
    {},
  ])("no complaint: %j", (body) => expect(judge(answer(200, body))).toEqual({ kind: "done", value: body }));
});

/** Appendix A of dingtalk-protocol.md, endpoints o, g, r, q, x and y: nothing of it is unknown. */
const DOCUMENTED =
  `auth.error bot.forbidden.sendMessage bot.stopped chatbotId.notAllow.sendOTO contain.notAllowed.content
contain.notAllowed.picture contain.notAllowed.text contain.unsafe.url conversation.org.dismatch conversation.org.notMatch
group.disbanded illegal.excludes illegal.receivers invalid.openConversationId invalid.param.actionCardTobtnOrientation
invalid.param.actionCardTocanForward invalid.processQueryKey invalidParameter.cursor.invalid invalidParameter.invalid
invalidParameter.msg.unsupport invalidParameter.msgBody.invalid invalidParameter.msgKey.empty invalidParameter.msgKey.invalid
invalidParameter.msgParam.invalid invalidParameter.msgParam.tooLong invalidParameter.pageSize.invalid
invalidParameter.param.invalid invalidParameter.processQueryKey.missing invalidParameter.processQueryKeys.overMax
invalidParameter.robotCode invalidParameter.robotCode.auth invalidParameter.robotCode.coolApp invalidParameter.robotCode.empty
invalidParameter.robotCode.invalid invalidParameter.robotCode.missing invalidParameter.robotCode.notExsit
invalidParameter.token.invalid invalidParameter.userId.empty invalidParameter.userIds.empty invalidParameter.userIds.overMax
keywords.not.match miss.chatbotId miss.openConversationId not.allowed.robotCode notRevoke.all.messages
only.groupAdmin.canAtAll openConversationId.notExisted processQueryKey.expireTime receivers.exceed resource.not.found
resource.unavailable robot.oto.notExist robot.processQueryKey.expired send.forbidden sendMessage.model.notMatch session.expired
session.notExisted sign.not.match staffId.notExisted template.not.existed template.stopped token.notExisted unauthorized
miss.param.text miss.param.markdownTotitle`.split(/\s+/);

describe("the table", () => {
  test.each(DOCUMENTED)("%s is final, with its reason and DingTalk's words", (code) => {
    const judged = judge(api(400, code));
    expect(judged).toMatchObject({ kind: "rejected", detail: expect.stringContaining(`DingTalk: 400 ${code}: 文本`) });
  });

  test("has no code twice, in whatever case", () => {
    expect(new Set(knownCodes.map((code) => code.toLowerCase())).size).toBe(knownCodes.length);
  });

  test.each(knownCodes)("%s decides, as a code and as an errcode", (code) => {
    const { kind } = ruleOf(code) ?? {};
    expect(judge(answer(400, { code })).kind).toBe(kind);
    const inner = judge(answer(200, { errcode: /^-?\d+$/.test(code) ? Number(code) : code }));
    expect(inner.kind).toBe(kind);
  });

  test.each(["constructor", "__proto__", "toString", ""])("does not know %j", (code) => {
    expect(judge(answer(400, { code }))).toMatchObject(entry("dingtalk_rejected"));
  });
});

describe("the detail", () => {
  test("names the scopes that are missing and the request", () => {
    const given = {
      ...answer(403, {
        code: denied("AccessTokenPermissionDenied"),
        message: "没有调用该接口的权限",
        accessdenieddetail: { requiredScopes: ["qyapi_robot_sendmsg", 7] },
      }),
      requestId: "e64a36ef",
    };
    expect(judge(given)).toMatchObject({
      detail: expect.stringMatching(/required: qyapi_robot_sendmsg;.*没有调用该接口的权限 \(request e64a36ef\)$/),
    });
  });

  test("is one line, short and free of secrets", () => {
    const message = `token tok+en/secret refused\r\n\u0000${"长".repeat(5_000)}`;
    const judged = judge(answer(400, { code: "InvalidAuthentication", message }), ["tok+en/secret", ""]);
    const { detail } = judged as { detail: string };
    expect(detail).toContain("token [redacted] refused 长");
    expect(detail.length).toBeLessThan(600);
  });
});

describe("Retry-After", () => {
  test.each([
    ["429", "1", 2_000],
    ["429", "30", 30_000],
    ["429", "99999", 600_000],
    ["429", "soon", 2_000],
    ["500", "7", 7_000],
    ["503", "7", 7_000],
  ])("%s with %s s", (status, value, afterMs) => {
    expect(judge(answer(Number(status), {}, { "retry-after": value }))).toMatchObject({ kind: "retry", afterMs });
  });
});

describe("a send", () => {
  const sent = { processQueryKey: "key", invalidStaffIdList: [], flowControlledStaffIdList: [] };
  test.each<[string, object, object]>([
    ["accepted", sent, { kind: "done", value: "key" }],
    ["accepted with lists that are null", { ...sent, invalidStaffIdList: null }, { kind: "done", value: "key" }],
    ["to an unknown person", { ...sent, invalidStaffIdList: ["staff404"] }, rejected("recipient_unknown")],
    ["to a flooded person", { ...sent, flowControlledStaffIdList: ["staff001"] }, conversation],
    ["without a receipt", { invalidStaffIdList: [] }, rejected("dingtalk_bad_answer")],
    ["with an empty receipt", { ...sent, processQueryKey: "" }, rejected("dingtalk_bad_answer")],
    ["with ok: true and nothing else", { ok: true }, rejected("dingtalk_bad_answer")],
  ])("%s", (_name, body, expected) => expect(judgeSend(answer(200, body), [])).toMatchObject(expected));
});

describe("a webhook message", () => {
  test.each<[string, HttpAnswer, object]>([
    ["accepted", oapi(0), { kind: "done" }],
    ["accepted with a string", oapi("0"), { kind: "done" }],
    ["without errcode", answer(200, {}), rejected("dingtalk_bad_answer")],
    ["with errcode null", answer(200, { errcode: null }), rejected("dingtalk_bad_answer")],
    ["that asks for a token", oapi(40014), rejected("webhook_expired")],
    ["refused", oapi(310000), rejected()],
  ])("%s", (_name, given, expected) => expect(judgeWebhook(given, [])).toMatchObject(expected));
});

describe("a recall", () => {
  test.each<[string, object, object]>([
    ["done", { successResult: ["key"], failedResult: {} }, { kind: "done", value: "key" }],
    ["failed", { successResult: [], failedResult: { key: "超过24小时" } }, rejected("not_cancellable")],
    ["of another key", { successResult: ["other"], failedResult: { other: "x" } }, rejected("dingtalk_bad_answer")],
    ["without a result", {}, rejected("dingtalk_bad_answer")],
  ])("%s", (_name, body, expected) => expect(judgeRecall(answer(200, body), [], "key")).toMatchObject(expected));
});

describe("no answer", () => {
  test("surely not sent waits for the peer", () => {
    const error = new CallError("dingtalk_unreachable", "refused", { sent: false });
    expect(failureOfCall(error)).toEqual({ ...peerAway("dingtalk_unreachable"), detail: "refused" });
  });

  test("sent is uncertain", () => {
    const error = new CallError("dingtalk_timeout", "late", { sent: true });
    expect(failureOfCall(error)).toEqual({ ...uncertain("dingtalk_timeout"), detail: "late" });
  });

  test("a request that cannot be made counts", () => {
    expect(failureOfCall(new CallError("internal", "bad", { sent: false }))).toMatchObject(entry("internal"));
  });

  test("an error of our own is passed on", () => {
    expect(() => failureOfCall(new TypeError("bug"))).toThrow("bug");
  });
});

describe("whatever is answered", () => {
  const keys = ["errcode", "code", "errorCode", "success", "status", "message", "sub_code", "accessdenieddetail", "result",
    "deliverResults", "processQueryKey", "invalidStaffIdList", "flowControlledStaffIdList", "successResult", "failedResult"]; // prettier-ignore
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(...knownCodes, "0", "ok", "Forbidden.x"),
    fc.integer({ min: -2, max: 100 }),
    fc.record({ requiredScopes: fc.jsonValue(), deliverResults: fc.jsonValue() }, { requiredKeys: [] }),
    fc.array(fc.record({ success: fc.jsonValue(), errorMsg: fc.jsonValue() }, { requiredKeys: [] })),
  );
  const ofJson = (value: unknown): AnswerBody => ({ kind: "json", value });
  const body: fc.Arbitrary<AnswerBody> = fc.oneof(
    fc.constantFrom<AnswerBody>({ kind: "html" }, { kind: "other" }, { kind: "incomplete" }),
    fc.jsonValue().map(ofJson),
    fc.dictionary(fc.constantFrom(...keys), value).map(ofJson),
  );
  const answers: fc.Arbitrary<HttpAnswer> = fc.record({
    status: fc.oneof(fc.constantFrom(200, 400, 401, 403, 429, 500, 503, 504), fc.integer({ min: 100, max: 999 })),
    headers: fc.dictionary(fc.constantFrom("retry-after", "x-other"), fc.string()),
    body,
    requestId: fc.option(fc.string(), { nil: undefined }),
  });

  /** What must hold of every judgement, whatever was answered. */
  function wrongWith(judged: Judged<unknown>, given: HttpAnswer): string | undefined {
    switch (judged.kind) {
      case "done":
        return given.status >= 200 && given.status < 300 && given.body.kind === "json"
          ? undefined
          : "success without proof";
      case "retry":
        if (!((judged.afterMs ?? 0) >= 0)) return "a pause that is none";
        return judged.detail ? undefined : "no reason";
      case "token":
      case "rejected":
      case "uncertain":
        return judged.detail ? undefined : "no reason";
    }
  }

  const proofs = (given: HttpAnswer): Record<string, unknown> =>
    given.body.kind === "json" ? { ...(given.body.value as object | null) } : {};

  test("something sensible is said, and success only with proof", () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(answers, (given) => {
        const send = judgeSend(given, ["s"]);
        const webhook = judgeWebhook(given, ["s"]);
        const recall = judgeRecall(given, ["s"], "key");
        for (const { kind } of [send, webhook, recall]) kinds.add(kind);
        expect([send, webhook, recall].map((judged) => wrongWith(judged, given))).toEqual([
          undefined,
          undefined,
          undefined,
        ]);
        const { processQueryKey, errcode } = proofs(given);
        expect(send.kind !== "done" || send.value === processQueryKey).toBe(true);
        expect(webhook.kind !== "done" || String(errcode).trim() === "0").toBe(true);
      }),
      { numRuns: 10_000 },
    );
    expect(kinds).toEqual(new Set(["done", "token", "retry", "rejected", "uncertain"]));
  });
});
