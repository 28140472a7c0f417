import { badRequest, isFilled, isObject, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { answerOf, apiError, oapiError, ok, type ApiAnswer } from "./dingtalk-errors.ts";
import type { App } from "./dingtalk-world.ts";

const types = new Set(["EVENT", "CALLBACK", "SYSTEM"]);

function subscriptionsOf(json: Record<string, unknown>): { type: string; topic: string }[] | undefined {
  const list = json["subscriptions"];
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const subscriptions: { type: string; topic: string }[] = [];
  for (const entry of list as unknown[]) {
    if (!isObject(entry) || !isFilled(entry["type"]) || !isFilled(entry["topic"])) return undefined;
    const { type, topic } = entry as { type: string; topic: string };
    if (!types.has(type) || (type === "EVENT" && topic !== "*")) return undefined;
    subscriptions.push({ type, topic });
  }
  return subscriptions;
}

const byKey =
  (read: (call: ApiCall) => unknown) =>
  (call: ApiCall, context: ApiContext): App | undefined => {
    const key = read(call);
    return context.world.apps.find((app) => app.appKey === key);
  };

const filled = (value: unknown): string | undefined => (isFilled(value) ? value : undefined);

/** XML to whoever does not ask for JSON (dingtalk-protocol.md §1.1); the element names are a guess. */
const xml = (fields: Record<string, string>): string => {
  const elements = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`);
  return `<?xml version="1.0" encoding="UTF-8"?><OpenConnectionResponse>${elements.join("")}</OpenConnectionResponse>`;
};

function openConnection(call: ApiCall, context: ApiContext): ApiAnswer {
  const { app, json } = call;
  if (!json) return answerOf("missingBody");
  if (!app || json["clientSecret"] !== app.appSecret) return answerOf("authFailed");
  const subscriptions = subscriptionsOf(json);
  if (!subscriptions) {
    context.records.problem("connections/open: subscriptions missing or malformed");
    return badRequest("invalidParameter.subscriptions", "subscriptions is invalid");
  }
  const ua = filled(json["ua"]);
  const localIp = filled(json["localIp"]);
  const ticket = context.tickets.issue({ app, subscriptions, ua, localIp });
  const body = { endpoint: `${context.url().ws}/connect`, ticket };
  if (call.headers.accept?.includes("application/json")) return ok(body);
  context.records.problem("connections/open: without Accept: application/json the answer is XML");
  return { ...ok(xml(body)), contentType: "application/xml;charset=utf-8" };
}

/** Credentials to connections and tokens (dingtalk-protocol.md §1.1, §3.1). */
export const authApis: ApiDefinition[] = [
  {
    name: "connections/open",
    method: "POST",
    path: "/v1.0/gateway/connections/open",
    host: "api",
    auth: "none",
    identify: byKey((call) => call.json?.["clientId"]),
    paid: false,
    limited: true,
    secret: true,
    handle: openConnection,
  },
  {
    name: "oauth2/accessToken",
    method: "POST",
    path: "/v1.0/oauth2/accessToken",
    host: "api",
    auth: "none",
    identify: byKey((call) => call.json?.["appKey"]),
    paid: false,
    limited: true,
    secret: true,
    handle: ({ app, json }, { world }) => {
      if (!json) return answerOf("missingBody");
      if (!app || json["appSecret"] !== app.appSecret) {
        return badRequest("invalidClientIdOrSecret", "无效的clientId或者clientSecret");
      }
      const { token, expiresIn } = world.issueToken(app);
      return ok({ accessToken: token, expireIn: expiresIn });
    },
  },
  {
    name: "oauth2/token",
    method: "POST",
    path: "/v1.0/oauth2/:corpId/token",
    host: "api",
    auth: "none",
    identify: byKey((call) => call.json?.["client_id"]),
    paid: false,
    limited: true,
    secret: true,
    handle: ({ app, json, params }, { world }) => {
      if (!json) return answerOf("missingBody");
      if (!app || json["client_secret"] !== app.appSecret) return badRequest("invalid.client", "invalid client");
      if (json["grant_type"] !== "client_credentials") {
        return badRequest("unsupported.grant.type", "unsupported grant type");
      }
      if (params["corpId"] !== app.corpId) return apiError(401, "unauthorized.client", "unauthorized client");
      const { token, expiresIn } = world.issueToken(app);
      return ok({ access_token: token, expires_in: expiresIn });
    },
  },
  {
    name: "gettoken",
    method: "GET",
    path: "/gettoken",
    host: "oapi",
    auth: "none",
    identify: byKey((call) => call.query.get("appkey")),
    paid: false,
    limited: true,
    secret: true,
    handle: ({ app, query }, { world }) => {
      if (!app || query.get("appsecret") !== app.appSecret) return oapiError(40089, "不合法的corpid或corpsecret");
      const { token, expiresIn } = world.issueToken(app);
      return ok({ errcode: 0, errmsg: "ok", access_token: token, expires_in: expiresIn });
    },
  },
];
