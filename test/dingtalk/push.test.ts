import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readPush, type PushRead } from "../../src/dingtalk/push.ts";
import { PAYLOAD_FILES, payloads } from "../support/payloads.ts";

const webhookUrl = "https://oapi.dingtalk.com/robot/sendBySession?session=66d7c695a9";
const body = {
  msgtype: "text",
  text: { content: " 你好" },
  msgId: "msgrK2xxxxU+riw==",
  conversationId: "cid6EUxxxxsg==",
  conversationType: "2",
  conversationTitle: "测试群",
  senderId: "$:LWCP_v1:$Bv1",
  senderStaffId: "staff001",
  senderNick: "张三",
  robotCode: "dingoxxxxdm3k",
  createAt: 1_708_327_204_136,
  sessionWebhook: webhookUrl,
  sessionWebhookExpiredTime: 1_708_332_604_316,
};
const read = (fields: Record<string, unknown> = {}, allowedOrigins: string[] = []): PushRead =>
  readPush(JSON.stringify({ ...body, ...fields }), { allowedOrigins });

describe("readPush", () => {
  it("reads what the commit needs", () => {
    const { sessionWebhook: _url, sessionWebhookExpiredTime: _time, ...rest } = body;
    expect(read()).toEqual({
      ok: true,
      msgId: "msgrK2xxxxU+riw==",
      robotCode: "dingoxxxxdm3k",
      conversationId: "cid6EUxxxxsg==",
      conversationKind: "group",
      conversationTitle: "测试群",
      senderStaffId: "staff001",
      senderId: "$:LWCP_v1:$Bv1",
      senderName: "张三",
      webhook: { url: webhookUrl, expiresAt: 1_708_332_604_316 },
      createdAt: 1_708_327_204_136,
      body: rest,
    });
  });

  it.each(PAYLOAD_FILES)("accepts every known body: %s", (file) => {
    const cases = payloads(file);
    const pushes = cases.map(({ body }) => readPush(JSON.stringify(body)));
    expect(pushes).toMatchObject(
      cases.map(({ body: { msgId, conversationId } }) => ({ ok: true, msgId, conversationId })),
    );
    expect(pushes.map((push) => "overQuota" in push)).toEqual(cases.map(({ overQuota }) => overQuota));
  });

  it.each([
    ["data is not JSON", "{"],
    ["data is not JSON", ""],
    ["data is not an object", "null"],
    ["data is not an object", "[1]"],
    ["data is not an object", '"text"'],
    ["msgId is missing", '{"conversationId":"cidA=="}'],
    ["msgId is missing", '{"msgId":" ","conversationId":"cidA=="}'],
    ["msgId is missing", '{"msgId":{},"conversationId":"cidA=="}'],
    ["conversationId is missing", '{"msgId":"msgA=="}'],
  ])("is not ok: %s (%s)", (reason, data) => {
    expect(readPush(data)).toEqual({ ok: false, reason });
  });

  it("refuses ids that lost their digits on the way: two messages would be one", () => {
    expect(readPush('{"msgId":9007199254740993,"conversationId":"c"}').ok).toBe(false);
    expect(readPush('{"msgId":42,"conversationId":"c"}')).toMatchObject({ ok: true, msgId: "42", senderId: "unknown" });
  });

  it("keeps two messages two", () => {
    const ids = ["msgA==", "msga=="].map((msgId) => read({ msgId }));
    expect(ids).toMatchObject([{ msgId: "msgA==" }, { msgId: "msga==" }]);
  });

  it("leaves out what is not there", () => {
    const push = readPush('{"msgId":"m","conversationId":"c","conversationType":1,"senderStaffId":"","isAdmin":null}');
    expect(Object.keys(push).toSorted()).toEqual([
      "body",
      "conversationId",
      "conversationKind",
      "msgId",
      "ok",
      "senderId",
    ]);
    expect(push).toMatchObject({ conversationKind: "direct" });
  });

  it.each([
    [
      { errorCode: 20001, errorMessage: "超量" },
      { code: "20001", message: "超量" },
    ],
    [
      { errCode: "20001", errMsg: "超量" },
      { code: "20001", message: "超量" },
    ],
    [
      { errorCode: 5, text: undefined },
      { code: "5", message: "" },
    ],
    [{ errorCode: 5 }, undefined],
    [{ errorCode: 0, text: undefined }, undefined],
  ])("over quota: %j", (fields, overQuota) => {
    const push = read(fields);
    expect("overQuota" in push ? push.overQuota : undefined).toEqual(overQuota);
  });
});

describe("the session webhook", () => {
  const webhookFor = (sessionWebhook: unknown, allowed: string[] = []): unknown => {
    const push = read({ sessionWebhook }, allowed);
    return "webhook" in push ? push.webhook?.url : undefined;
  };

  it.each([
    "https://oapi.dingtalk.com/robot/sendBySession?session=1",
    "https://api.dingtalk.com/x",
    "https://api.dingtalk.io/x",
  ])("is kept: %s", (url) => {
    expect(webhookFor(url)).toBe(url);
  });

  it.each([
    "http://oapi.dingtalk.com/x",
    "https://dingtalk.com.example.org/x",
    "https://evildingtalk.com/x",
    "https://example.org/?.dingtalk.com",
    "https://example.org#.dingtalk.com",
    "https://user:pass@oapi.dingtalk.com/x",
    "https://oapi.dingtalk.com@example.org/x",
    "https://oapi.dingtalk.com:8443/x",
    "https://oapi.dingtalk.com./x",
    "file:///etc/passwd",
    "http://127.0.0.1:8080/x",
    "oapi.dingtalk.com",
    "",
    42,
    null,
    `https://oapi.dingtalk.com/${"x".repeat(3_000)}`,
  ])("is dropped: %s", (url) => {
    expect(webhookFor(url)).toBeUndefined();
  });

  it("may have exactly a configured origin", () => {
    const allowed = ["http://127.0.0.1:8080/v1.0", "not a url"];
    expect(webhookFor("http://127.0.0.1:8080/x", allowed)).toBe("http://127.0.0.1:8080/x");
    expect(webhookFor("http://127.0.0.1:8081/x", allowed)).toBeUndefined();
    expect(webhookFor("https://127.0.0.1:8080/x", allowed)).toBeUndefined();
    expect(webhookFor("data:text/plain,x", ["data:text/plain,y"])).toBeUndefined();
  });

  it("expires when DingTalk says, else 90 minutes after the message", () => {
    const at = (fields: Record<string, unknown>): unknown => {
      const push = read(fields);
      return "webhook" in push ? push.webhook?.expiresAt : undefined;
    };
    expect(at({ sessionWebhookExpiredTime: "1708332604316" })).toBe(1_708_332_604_316);
    expect(at({ sessionWebhookExpiredTime: undefined })).toBe(1_708_327_204_136 + 5_400_000);
    expect(at({ sessionWebhookExpiredTime: undefined, createAt: undefined })).toBeUndefined();
  });
});

describe("hostile data", () => {
  it("is read without an exception, whatever it is", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json()), (data) => {
        expect(JSON.stringify(readPush(data))).toMatch(/^\{"ok":/);
      }),
      { numRuns: 3_000 },
    );
  });

  it("has a body that can be stored: 10,000 levels, lone surrogates, prototype keys", () => {
    const deep = "[".repeat(10_000) + "]".repeat(10_000);
    const push = readPush(
      `{"msgId":"m","conversationId":"c","deep":${deep},"__proto__":{"ok":false},"a\\ud800":"b\\udc00"}`,
    );
    expect(push).toMatchObject({ ok: true });
    const stored = JSON.stringify(push);
    expect(stored).toContain("[nested too deeply]");
    expect(stored).not.toMatch(/__proto__|\\ud800|\\udc00/);
    expect(({} as Record<string, unknown>)["ok"]).toBeUndefined();
  });
});
