import { BridgeError, type ErrorCode } from "../domain/errors.ts";
import { quotePeer } from "./stream-failure.ts";

/** The HTTP answer to an open call; `body` is cut at a limit. */
export interface OpenAnswer {
  status: number;
  body: string;
}

export interface Ticket {
  endpoint: string;
  ticket: string;
}

const MENDS = {
  credentials:
    "Copy Client ID and Client Secret again: open-dev.dingtalk.com → the app → 凭证与基础信息. They are the account's appKey and appSecret (DINGTALK_APP_KEY, DINGTALK_APP_SECRET); `dingtalk-bridge init --force` asks for them, checks and writes them. Then restart the bridge (in Docker: docker compose up -d).",
  refused:
    "On open-dev.dingtalk.com → the app, check in this order: 应用能力 → 机器人: 机器人配置 is on and 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published; 安全设置 → 服务器出口IP: empty, or holds the public address of this machine; 凭证与基础信息: Client ID and Client Secret are those configured. The bridge tries again by itself; `dingtalk-bridge doctor` looks at all of it.",
  ipList:
    "open-dev.dingtalk.com → the app → 安全设置 → 服务器出口IP: add the public address of this machine, or empty the list.",
  proxy:
    "A proxy or firewall answers in DingTalk's place: let api.dingtalk.com:443 through unchanged, and check HTTPS_PROXY and DINGTALK_API_BASE.",
  proxyOrBlock:
    "Either a proxy or firewall answers in DingTalk's place (let api.dingtalk.com:443 through unchanged), or DingTalk blocks this address for 5 minutes after too many calls.",
  wait: "Nothing to do here: it is tried again by itself.",
  tooMany: "Too many calls come from this address or app: look for a second program with the same Client ID.",
  quota: "The organisation's calls of this month are used up: open-dev.dingtalk.com → 首页 → 资源管理.",
} as const;

/**
 * Reads the answer to `POST /v1.0/gateway/connections/open` (dingtalk-protocol.md §1.1, console wording from
 * dingtalk-console.md). Each way it can be refused has its own code, text and mend. `secrets` never appear in the text.
 *
 * @throws BridgeError stream_bad_credentials, stream_refused, stream_unavailable, stream_bad_answer, dingtalk_throttled,
 *   dingtalk_ip_not_allowed, dingtalk_ip_blocked, dingtalk_quota_exhausted
 */
export function readOpenAnswer(answer: OpenAnswer, secrets: readonly string[]): Ticket {
  const json = parseObject(answer.body);
  if (json !== undefined && answer.status === 200) {
    const { endpoint, ticket } = json;
    if (typeof endpoint === "string" && endpoint !== "" && typeof ticket === "string" && ticket !== "") {
      return { endpoint, ticket };
    }
  }
  throw refusal(answer, json, secrets);
}

function refusal({ status, body }: OpenAnswer, json: Record<string, unknown> | undefined, secrets: readonly string[]) {
  const code = typeof json?.["code"] === "string" ? json["code"] : "";
  const said = quotePeer([code, json?.["message"]].filter((part) => typeof part === "string").join(": "), secrets);
  const fail = (is: ErrorCode, mend: keyof typeof MENDS, text: string, retryable = true): BridgeError =>
    new BridgeError(is, `open call: ${text}${said === "" ? "" : ` (${said})`}`, { retryable, mend: MENDS[mend] });

  if (/authFailed/i.test(code) || (json === undefined && body.includes("authFailed"))) {
    return fail(
      "stream_bad_credentials",
      "credentials",
      `${status}: DingTalk does not accept Client ID and Secret`,
      false,
    );
  }
  if (json?.["status"] === 1111) return fail("dingtalk_ip_blocked", "tooMany", "this address is blocked for 5 minutes");
  if (status >= 500) return fail("stream_unavailable", "wait", `${status}: DingTalk's gateway is in trouble`);
  if (status === 429 || /Q[ps][ms]Limit/i.test(code)) {
    return fail("dingtalk_throttled", "tooMany", `${status}: too many calls`);
  }
  if (json === undefined) {
    const mend = status === 403 ? "proxyOrBlock" : "proxy";
    return fail("stream_bad_answer", mend, `${status} with ${bodyKind(body)} instead of JSON`);
  }
  if (status === 401) {
    return fail("stream_bad_credentials", "credentials", "401: DingTalk does not accept Client ID and Secret", false);
  }
  if (/IpNotInWhiteList/i.test(code)) {
    return fail("dingtalk_ip_not_allowed", "ipList", `${status}: this address is not on the app's list`, false);
  }
  if (/ApiCountLimit/i.test(code)) {
    return fail("dingtalk_quota_exhausted", "quota", `${status}: the month's quota is used up`, false);
  }
  if (status === 400 || status === 403) {
    return fail("stream_refused", "refused", `${status}: DingTalk refuses a Stream connection for this app`, false);
  }
  if (status === 200) return fail("stream_bad_answer", "proxy", "200 without endpoint and ticket");
  return fail("stream_bad_answer", "proxy", `unexpected status ${status}`);
}

function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function bodyKind(body: string): string {
  const start = body.trimStart().slice(0, 200).toLowerCase();
  if (start === "") return "an empty body";
  if (start.startsWith("<!doctype html") || start.includes("<html")) return "an HTML page";
  return start.startsWith("<") ? "XML" : "text";
}
