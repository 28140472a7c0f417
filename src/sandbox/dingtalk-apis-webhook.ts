import { createHmac } from "node:crypto";
import type { ApiCall, ApiContext, ApiDefinition } from "./dingtalk-api.ts";
import { answerOf, oapiError, ok, type ApiAnswer } from "./dingtalk-errors.ts";
import { judgeWebhookBody, webhookBody } from "./dingtalk-webhook-body.ts";
import type { CustomRobot } from "./dingtalk-types.ts";

const taken = { errcode: 0, errmsg: "ok" };

function sendBySession(call: ApiCall, context: ApiContext): ApiAnswer {
  const { world, knobs, limits } = context;
  const session = call.query.get("session");
  if (session === null) return oapiError(40035, "缺少参数 session");
  const checked = webhookBody(call, knobs.webhookBodyBytes);
  if ("status" in checked) return checked;
  const body = checked.read;
  const conversation = world.session(session);
  if (!conversation) return answerOf("sessionUnknown");
  call.record.conversationId = conversation.id;
  const judged = judgeWebhookBody(body, context);
  if ("status" in judged) return judged;
  const throttled = limits.webhook(conversation);
  if (throttled) return throttled;
  if (!world.takeUnit(conversation.app)) return answerOf("webhookOverLimit");
  if (judged.msgtype !== "empty") {
    context.media.checkImages(conversation.app, "sendBySession", judged.shown.text);
    call.appear({
      app: conversation.app.appKey,
      route: "webhook",
      conversationId: conversation.id,
      msgtype: judged.msgtype,
      ...judged.shown,
      mentions: judged.mentions,
      raw: body,
    });
  }
  return ok(taken);
}

/** Timestamp within an hour, HMAC-SHA256 of timestamp and secret (dingtalk-protocol.md §3.3). */
function isSigned(call: ApiCall, secret: string, now: number): boolean {
  const timestamp = call.query.get("timestamp") ?? "";
  const sign = createHmac("sha256", secret).update(`${timestamp}\n${secret}`).digest("base64");
  return Math.abs(now - Number(timestamp)) < 3_600_000 && call.query.get("sign") === sign;
}

function customRobotSend(call: ApiCall, context: ApiContext): ApiAnswer {
  const { world, knobs, limits } = context;
  const robot = customRobotOf(call, context);
  if (!robot) return oapiError(400101, "access_token不存在");
  if (robot.secret !== undefined && !isSigned(call, robot.secret, world.now())) {
    return oapiError(310000, "sign not match");
  }
  const checked = webhookBody(call, knobs.webhookBodyBytes);
  if ("status" in checked) return checked;
  const body = checked.read;
  const judged = judgeWebhookBody(body, context);
  if ("status" in judged) return judged;
  const { msgUuid } = body;
  // The only send of DingTalk with an idempotency key.
  if (typeof msgUuid === "string" && !world.firstUse(`${robot.accessToken} ${msgUuid}`)) return ok(taken);
  const throttled = limits.customRobot(robot.accessToken);
  if (throttled) return throttled;
  const group = world.group(robot.group);
  call.record.conversationId = group.conversationId;
  call.appear({
    app: "custom",
    route: "custom",
    conversationId: group.conversationId,
    msgtype: judged.msgtype,
    ...judged.shown,
    mentions: judged.mentions,
    raw: body,
  });
  return ok(taken);
}

function customRobotOf(call: ApiCall, { world }: ApiContext): CustomRobot | undefined {
  const accessToken = call.query.get("access_token");
  return world.customRobots.find((robot) => robot.accessToken === accessToken);
}

/** Webhooks: no token, always HTTP 200 (dingtalk-protocol.md §3.2, §3.3). */
export const webhookApis: ApiDefinition[] = [
  {
    name: "sendBySession",
    method: "POST",
    path: "/robot/sendBySession",
    host: "oapi",
    auth: "none",
    identify: (call, { world }) => world.session(call.query.get("session"))?.app,
    paid: false,
    limited: false,
    handle: sendBySession,
  },
  {
    name: "robot/send",
    method: "POST",
    path: "/robot/send",
    host: "oapi",
    auth: "none",
    paid: false,
    limited: false,
    handle: customRobotSend,
  },
];
