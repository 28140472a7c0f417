import { badRequest, isFilled, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { ok, type ApiAnswer } from "./dingtalk-errors.ts";
import { judgeParams } from "./dingtalk-params.ts";
import type { App } from "./dingtalk-world.ts";

/** Keys that some clients send and DingTalk does not document: a test that relies on them is wrong. */
const groupKeys = new Set(["robotCode", "openConversationId", "msgKey", "msgParam", "coolAppCode", "token"]);
const otoKeys = new Set(["robotCode", "userIds", "msgKey", "msgParam"]);

function undocumented(api: string, json: Record<string, unknown>, known: Set<string>, context: ApiContext): void {
  for (const key of Object.keys(json)) {
    if (!known.has(key)) context.records.problem(`${api}: "${key}" is not a parameter and has no effect`);
  }
}

/** The calling app's own robot, or the answer that refuses it. */
export function robotOf(app: App, robotCode: unknown, context: ApiContext): ApiAnswer | undefined {
  if (!isFilled(robotCode)) return badRequest("invalidParameter.robotCode.empty", "机器人robotCode为空");
  if (robotCode === app.robotCode) return undefined;
  return context.world.apps.some((other) => other.robotCode === robotCode)
    ? badRequest("invalidParameter.robotCode.auth", "此应用appkey和机器人robotCode不匹配")
    : badRequest("invalidParameter.robotCode.notExsit", "机器人不存在");
}

function paramsOf(
  app: App,
  { msgKey, msgParam }: Record<string, unknown>,
  maxBytes: number,
  { media }: ApiContext,
): ReturnType<typeof judgeParams> {
  const judged = judgeParams(msgKey, msgParam, maxBytes, (mediaId, type) => media.isUsable(app, mediaId, type));
  if ("shown" in judged) media.checkImages(app, String(msgKey), judged.shown.text);
  return judged;
}

function batchSend(call: ApiCall, context: ApiContext): ApiAnswer {
  const { json, app } = call;
  if (!json || !app) return badRequest("invalidParameter.msgBody.invalid", "body必须是JSON");
  const refused = robotOf(app, json["robotCode"], context);
  if (refused) return refused;
  const userIds: unknown = json["userIds"];
  if (!Array.isArray(userIds) || userIds.length === 0) {
    return badRequest("invalidParameter.userIds.empty", "用户userId列表为空");
  }
  if (userIds.length > 20) return badRequest("invalidParameter.userIds.overMax", "用户userId列表超过最大限制");
  if (!userIds.every((id) => isFilled(id))) return badRequest("invalidParameter.userId.empty", "缺少staffId");
  const judged = paramsOf(app, json, context.knobs.otoParamBytes, context);
  if ("code" in judged) return badRequest(judged.code, judged.message);
  const tooMuch = context.limits.robot(app);
  if (tooMuch) return tooMuch;
  undocumented("oToMessages/batchSend", json, otoKeys, context);
  const known = userIds.filter(
    (id) => context.world.findUser(id) !== undefined && !context.world.findUser(id)?.outsider,
  );
  const invalidStaffIdList = userIds.filter((id) => !known.includes(id));
  const flowControlledStaffIdList = known.filter((id) => !context.limits.user(app, id));
  const reached = known.filter((id) => !flowControlledStaffIdList.includes(id));
  const processQueryKey = context.world.ids.processQueryKey();
  const [first] = reached;
  if (first !== undefined) {
    const conversationId = context.world.direct(app, first).id;
    call.record.conversationId = conversationId;
    call.appear({
      app: app.appKey,
      route: "oto",
      conversationId,
      userIds: reached,
      msgKey: String(json["msgKey"]),
      ...judged.shown,
      mentions: [],
      processQueryKey,
      raw: judged.raw,
    });
  }
  return ok({ processQueryKey, invalidStaffIdList, flowControlledStaffIdList });
}

function groupSend(call: ApiCall, context: ApiContext): ApiAnswer {
  const { json, app } = call;
  if (!json || !app) return badRequest("invalidParameter.msgBody.invalid", "body必须是JSON");
  if (!isFilled(json["robotCode"])) return badRequest("invalidParameter.robotCode.missing", "缺少robotCode");
  const refused = robotOf(app, json["robotCode"], context);
  if (refused) return refused;
  if (!isFilled(json["openConversationId"])) {
    return badRequest("miss.openConversationId", "缺少openConversationId");
  }
  const group = context.world.findGroup(json["openConversationId"]);
  if (!group) return badRequest("invalid.openConversationId", "无效的openConversationId");
  if (group.robots && !group.robots.includes(app.appKey)) {
    return badRequest("invalidParameter.robotCode.invalid", "无效的robotCode");
  }
  call.record.conversationId = group.conversationId;
  const judged = paramsOf(app, json, context.knobs.groupParamBytes, context);
  if ("code" in judged) return badRequest(judged.code, judged.message);
  const tooMuch = context.limits.robot(app) ?? context.limits.group(group.conversationId);
  if (tooMuch) return tooMuch;
  undocumented("groupMessages/send", json, groupKeys, context);
  const processQueryKey = context.world.ids.processQueryKey();
  call.appear({
    app: app.appKey,
    route: "group",
    conversationId: group.conversationId,
    msgKey: String(json["msgKey"]),
    ...judged.shown,
    mentions: [],
    processQueryKey,
    raw: judged.raw,
  });
  return ok({ processQueryKey });
}

/** Sending through the Open API (dingtalk-protocol.md §3.4, §3.5). */
export const sendApis: ApiDefinition[] = [
  {
    name: "oToMessages/batchSend",
    method: "POST",
    path: "/v1.0/robot/oToMessages/batchSend",
    host: "api",
    auth: "token",
    scope: "qyapi_robot_sendmsg",
    paid: true,
    limited: true,
    handle: batchSend,
  },
  {
    name: "groupMessages/send",
    method: "POST",
    path: "/v1.0/robot/groupMessages/send",
    host: "api",
    auth: "token",
    scope: "qyapi_robot_sendmsg",
    paid: true,
    limited: true,
    handle: groupSend,
  },
];
