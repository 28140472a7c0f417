import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";

/** A body that is made while it is sent. */
export interface FileBody {
  open(): Readable;
  /** Bytes of the stream to leave out at its beginning. */
  skip: number;
  /** To send; undefined = all there is, without Content-Length. */
  bytes: number | undefined;
  headers: Record<string, string>;
}

/** What an API answers. `code` is what records show: DingTalk's code, or "ok". */
export interface ApiAnswer {
  status: number;
  body: unknown;
  code: string;
  /** Default JSON. */
  contentType?: string;
  /** Sent instead of `body`. */
  file?: FileBody;
}

export const ok = (body: unknown): ApiAnswer => ({ status: 200, body, code: "ok" });

/** Error of api.dingtalk.com; the lower-case `requestid` is DingTalk's. */
export const apiError = (status: number, code: string, message: string = code, extra: object = {}): ApiAnswer => ({
  status,
  code,
  body: { code, requestid: randomUUID().toUpperCase(), message, ...extra },
});

/** Error of oapi.dingtalk.com: always HTTP 200. */
export const oapiError = (errcode: number, errmsg: string): ApiAnswer => ({
  status: 200,
  code: String(errcode),
  body: { errcode, errmsg },
});

const html = (status: number, code: string, title: string, text: string): ApiAnswer => ({
  status,
  code,
  contentType: "text/html",
  body:
    `<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html>\n<head><title>${title}</title></head>\n` +
    `<body>\n<center><h1>${title}</h1></center>\n${text}<hr/>Powered by DingTalk/1.0.0<hr><center>tengine</center>\n</body>\n</html>\n`,
});

const appThrottled = "您的企业应用调用钉钉开放平台当前接口的所有请求都被暂时禁用了";
const platformThrottled = "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了";

/**
 * Answers that can be injected by name, as published (dingtalk-protocol.md §3.1, §5.2, §5.3, Appendix A). Each call makes a
 * fresh one.
 */
const named = {
  invalidAuthentication: () => apiError(400, "InvalidAuthentication", "不合法的access_token"),
  oapiInvalidToken: () => oapiError(40014, "不合法的access_token"),
  unauthorized: () => apiError(401, "unauthorized", "access_token缺失或无效"),
  authFailed: () => apiError(401, "authFailed", "鉴权失败"),
  permissionDenied: () => permissionDenied([]),
  ipNotInWhiteList: () =>
    apiError(403, "Forbidden.AccessDenied.IpNotInWhiteList", "您的服务器出口IP不在调用钉钉接口的白名单内"),
  qpsLimit: () => apiError(403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", appThrottled),
  qpmLimit: () => apiError(403, "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", appThrottled),
  qpsLimitForApi: () => apiError(403, "Forbidden.AccessDenied.QpsLimitForApi", platformThrottled),
  tooManyRequests: () => apiError(429, "system.busy", "system busy, request too frequest"),
  oapiQpsLimit: () => oapiError(90018, appThrottled),
  ipBlockedHtml: () =>
    html(403, "ip_blocked", "405 Not Allowed", "您的访问被阻断 Sorry, your request has been blocked."),
  ipBlockedJson: (): ApiAnswer => ({
    status: 200,
    code: "1111",
    body: { status: 1111, wait: 5, source: "x5", punish: "deny", uuid: randomUUID().replaceAll("-", "") },
  }),
  apiCountLimit: () =>
    apiError(403, "Forbidden.AccessDenied.ApiCountLimitForOrg", "您的企业调用钉钉开放平台接口的次数已超过当月限额"),
  oapiCountLimit: () => oapiError(90020, "您的企业调用钉钉开放平台接口的次数已超过当月限额"),
  webhookOverLimit: () => oapiError(90030, "webhook over limit"),
  robotTooMuch: () => apiError(400, "toomuch.msg", "send too fast"),
  sendTooFast: () => apiError(400, "send.too.fast", "限流错误"),
  systemError: () => apiError(500, "system.error", "未知的系统错误"),
  unknownError: () => apiError(500, "unknownError", "未知错误"),
  systemBusy: () => apiError(500, "system.busy"),
  oapiBusy: () => oapiError(-1, "系统繁忙"),
  webhookTransient: () => oapiError(500100, "description:系统异常，请稍后再试;"),
  webhookTooFast: () => oapiError(130101, "send too fast, exceed 20 times per minute"),
  webhookThrottled: () => oapiError(410100, "发送速度太快而限流"),
  sessionUnknown: () => oapiError(300001, "session 不存在"),
  badGateway: () => html(502, "502", "502 Bad Gateway", ""),
  unavailable: () =>
    apiError(503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
  gatewayTimeout: () => apiError(504, "service.timeout", "service.timeout"),
  plainHttpHtml: () =>
    html(
      400,
      "400",
      "400 The plain HTTP request was sent to HTTPS port",
      "The plain HTTP request was sent to HTTPS port",
    ),
  notFound: () =>
    apiError(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."),
  missingBody: () => apiError(400, "Missingbody", "body is mandatory for this action."),
};
export type NamedError = keyof typeof named;
export const namedErrors = Object.keys(named) as NamedError[];
export const answerOf = (name: NamedError): ApiAnswer => named[name]();

/** 403 of a permission that was not granted. */
export function permissionDenied(requiredScopes: string[]): ApiAnswer {
  const url = "https://open.dingtalk.com/document/orgapp-server/add-api-permission";
  return apiError(
    403,
    "Forbidden.AccessDenied.AccessTokenPermissionDenied",
    `没有调用该接口的权限，接口权限申请参考：${url}`,
    { accessdenieddetail: { requiredScopes } },
  );
}
