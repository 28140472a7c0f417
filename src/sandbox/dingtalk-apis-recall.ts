import { badRequest, isFilled, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { ok, type ApiAnswer } from "./dingtalk-errors.ts";
import type { SentMessage } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

type Route = "oto" | "group";

/** The message behind a key, as far as this app may ask for it. */
function findSent(app: App, route: Route, key: unknown, { records }: ApiContext): SentMessage | undefined {
  if (!isFilled(key)) return undefined;
  const found = records.sent.items.findLast(({ processQueryKey }) => processQueryKey === key);
  return found?.app === app.appKey && found.route === route ? found : undefined;
}

const isTooOld = ({ at }: SentMessage, { knobs }: ApiContext): boolean =>
  knobs.recallWindowMs > 0 && Date.now() >= at + knobs.recallWindowMs;

/** Why one message is not taken back: a code of Appendix A. One that was taken back already counts as taken back, unless the knob says otherwise. */
function recallOne(app: App, route: Route, key: string, group: unknown, context: ApiContext): string | undefined {
  const sent = findSent(app, route, key, context);
  if (!sent) {
    const exists = context.records.sent.items.some(({ processQueryKey }) => processQueryKey === key);
    return exists ? "not.allowed.robotCode" : "invalid.processQueryKey";
  }
  if (route === "group" && sent.conversationId !== group) return "invalid.processQueryKey";
  if (isTooOld(sent, context)) return "robot.processQueryKey.expired";
  if (sent.recalled && context.knobs.recallAgain === "refused") return "invalid.processQueryKey";
  sent.recalled = true;
  return undefined;
}

/** Partial failure is a 200 (dingtalk-protocol.md §3.7); for a single key the knob chooses. */
function recallAll(call: ApiCall, route: Route, app: App, context: ApiContext): ApiAnswer {
  const keys: unknown = call.json?.["processQueryKeys"];
  if (!Array.isArray(keys) || keys.length === 0) {
    return badRequest("invalidParameter.processQueryKey.missing", "缺少processQueryKey");
  }
  if (keys.length > 20) return badRequest("invalidParameter.processQueryKeys.overMax");
  if (!keys.every((key) => isFilled(key))) return badRequest("invalidParameter.param.invalid", "参数不合法");
  const successResult: string[] = [];
  const failedResult: Record<string, string> = {};
  for (const key of keys) {
    const failed = recallOne(app, route, key, call.json?.["openConversationId"], context);
    if (failed === undefined) successResult.push(key);
    else failedResult[key] = failed;
  }
  const [only] = Object.values(failedResult);
  if (context.knobs.recallRefusal === "error" && keys.length === 1 && only !== undefined) return badRequest(only);
  return ok({ successResult, failedResult });
}

function recallDirect(call: ApiCall, context: ApiContext): ApiAnswer {
  const { app, json } = call;
  if (!json || !app || json["robotCode"] !== app.robotCode) return badRequest("invalidParameter.robotCode");
  return recallAll(call, "oto", app, context);
}

/** The group that is asked about, or the answer that refuses. */
function groupOf(call: ApiCall, missing: { robot: string }, context: ApiContext): ApiAnswer | undefined {
  const { app, json } = call;
  if (!json || !app || !isFilled(json["robotCode"])) return badRequest(missing.robot);
  if (json["robotCode"] !== app.robotCode) return badRequest("invalidParameter.robotCode.notExsit", "机器人不存在");
  if (!isFilled(json["openConversationId"])) {
    return badRequest("miss.openConversationId", "缺少openConversationId");
  }
  if (context.world.findGroup(json["openConversationId"])) return undefined;
  return badRequest("invalid.openConversationId", "无效的openConversationId");
}

function recallInGroup(call: ApiCall, context: ApiContext): ApiAnswer {
  const refused = groupOf(call, { robot: "miss.chatbotId" }, context);
  if (refused || !call.app) return refused ?? badRequest("miss.chatbotId");
  return recallAll(call, "group", call.app, context);
}

const statusOf = ({ recalled }: SentMessage): string => (recalled ? "RECALLED" : "SUCCESS");
const notReady = (): ApiAnswer =>
  badRequest("processQueryKey.expireTime", "processQueryKey还未生成消息查询数据或已过期");

function readStatus({ app, query }: ApiCall, context: ApiContext): ApiAnswer {
  const robotCode = query.get("robotCode");
  if (!isFilled(robotCode)) return badRequest("invalidParameter.robotCode.empty", "机器人robotCode为空");
  if (!app || robotCode !== app.robotCode) return badRequest("invalidParameter.robotCode.notExsit", "机器人不存在");
  const key = query.get("processQueryKey");
  if (!isFilled(key)) return badRequest("invalidParameter.processQueryKey.missing", "缺少processQueryKey");
  const sent = findSent(app, "oto", key, context);
  if (!sent) return badRequest("invalid.processQueryKey", "无效的processQueryKey");
  if (isTooOld(sent, context)) return notReady();
  const messageReadInfoList = (sent.userIds ?? []).map((userId) => ({
    name: context.world.user(userId).name,
    userId,
    readStatus: sent.readBy?.includes(userId) ? "READ" : "UNREAD",
  }));
  return ok({ sendStatus: statusOf(sent), messageReadInfoList });
}

function queryGroup(call: ApiCall, context: ApiContext): ApiAnswer {
  const refused = groupOf(call, { robot: "invalidParameter.robotCode.missing" }, context);
  const { app, json } = call;
  if (refused || !app || !json) return refused ?? badRequest("invalidParameter.robotCode.missing");
  const { processQueryKey, maxResults = 200, nextToken = "0" } = json;
  if (!isFilled(processQueryKey)) return badRequest("invalidParameter.processQueryKey.missing", "缺少processQueryKey");
  if (typeof maxResults !== "number" || maxResults < 1 || maxResults > 200) {
    return badRequest("invalidParameter.pageSize.invalid", "无效的maxResults");
  }
  const start = Number(nextToken);
  if (!Number.isInteger(start) || start < 0) return badRequest("invalidParameter.cursor.invalid", "无效的nextToken");
  const sent = findSent(app, "group", processQueryKey, context);
  if (!sent) return badRequest("invalid.processQueryKey", "无效的processQueryKey");
  if (isTooOld(sent, context)) return notReady();
  const all = sent.readBy ?? [];
  const end = start + maxResults;
  const hasMore = end < all.length;
  return ok({
    sendStatus: statusOf(sent),
    readUserIds: all.slice(start, end),
    hasMore,
    ...(hasMore ? { nextToken: String(end) } : {}),
  });
}

const robotApi = {
  host: "api",
  auth: "token",
  scope: "qyapi_robot_sendmsg",
  paid: true,
  limited: true,
} as const;

/** What becomes of sent messages (dingtalk-protocol.md §3.7). */
export const recallApis: ApiDefinition[] = [
  {
    ...robotApi,
    name: "otoMessages/batchRecall",
    method: "POST",
    // The lower-case "oto" is DingTalk's.
    path: "/v1.0/robot/otoMessages/batchRecall",
    handle: recallDirect,
  },
  {
    ...robotApi,
    name: "groupMessages/recall",
    method: "POST",
    path: "/v1.0/robot/groupMessages/recall",
    handle: recallInGroup,
  },
  {
    ...robotApi,
    name: "oToMessages/readStatus",
    method: "GET",
    path: "/v1.0/robot/oToMessages/readStatus",
    handle: readStatus,
  },
  {
    ...robotApi,
    name: "groupMessages/query",
    method: "POST",
    path: "/v1.0/robot/groupMessages/query",
    handle: queryGroup,
  },
];
