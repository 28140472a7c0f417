import { type Account, tokensOf } from "../domain/account.ts";
import { type Finding, fine, skipped } from "../domain/finding.ts";
import type { Language } from "../domain/notices.ts";
import type { Standing } from "./doctor-bridge.ts";
import type { AccountDesk } from "./doctor-dingtalk.ts";

const WAIT_S = 20;
const ANSWER_WITHIN_MS = 25_000;
const WORDS: Record<Language, string> = {
  "zh-CN": "[dingtalk-bridge] 测试消息：看到这条消息，说明发送正常。",
  en: "[dingtalk-bridge] A test message: that you can read it shows that sending works.",
};

export interface SendOptions {
  staffId: string;
  account: Account;
  sharedTokens: readonly string[];
  language: Language;
  standing: Standing;
  desk: AccountDesk;
}

/** Sends a test message: by the running bridge, as a reply would go, else straight to DingTalk. */
export async function checkSending(options: SendOptions, signal: AbortSignal): Promise<Finding> {
  const { staffId, account, language, standing, desk } = options;
  const { name } = account;
  if (standing.kind === "hidden")
    return skipped("send", "a bridge runs here and its API does not answer", { account: name });
  if (standing.kind === "running" && standing.statuses.has(name)) return sendByBridge(standing.url, options, signal);
  const outcome = await desk.sendToUser(staffId, WORDS[language], signal);
  if (outcome.kind === "delivered")
    return fine("send", `DingTalk took a test message to user:${staffId}; look whether it is there`, { account: name });
  const { code, detail } = outcome.kind === "held" ? { code: "not_delivered", detail: "" } : outcome;
  return notDelivered(name, code, `user:${staffId}: ${detail ?? code}`);
}

async function sendByBridge(
  url: string,
  { staffId, account, sharedTokens, language }: SendOptions,
  signal: AbortSignal,
): Promise<Finding> {
  const { name } = account;
  const answer = await post(`${url}/v1/messages`, tokensOf(account, sharedTokens)[0] ?? "", signal, {
    account: name,
    to: `user:${staffId}`,
    content: { type: "text", text: WORDS[language] },
  });
  if (!answer) {
    const text = "the running bridge did not answer; perhaps the test message is sent all the same";
    return { check: "send", code: "not_delivered_yet", level: "warning", account: name, text, mend: "run it again" };
  }
  const { response, body } = answer;
  if (body.status === "delivered") {
    const route = body.parts?.[0]?.route ?? "DingTalk";
    const text = `the running bridge delivered a test message to user:${staffId} (${route}); look whether it is there`;
    return fine("send", text, { account: name });
  }
  const said = body.error?.detail ?? body.detail ?? `HTTP ${response.status}`;
  const code = body.error?.code ?? body.code;
  if (response.status === 202 || (response.ok && body.status !== "dead")) {
    return {
      check: "send",
      code: "not_delivered_yet",
      level: "warning",
      account: name,
      text: `the test message to user:${staffId} is on its way and not delivered after ${WAIT_S} s (${code ?? body.status ?? "queued"})`,
      mend: `dingtalk-bridge trace ${body.id ?? ""}`.trim(),
    };
  }
  return notDelivered(name, code ?? "not_delivered", `user:${staffId}: ${said}`);
}

interface BridgeAnswer {
  id?: string;
  status?: string;
  parts?: { route?: string | null }[];
  error?: { code: string; detail: string } | null;
  code?: string;
  detail?: string;
}

/** Undefined when there was no answer in time. */
async function post(url: string, token: string, signal: AbortSignal, message: object) {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        connection: "close",
        prefer: `wait=${WAIT_S}`,
      },
      body: JSON.stringify(message),
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
    });
    return { response, body: (await response.json()) as BridgeAnswer };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

function notDelivered(account: string, code: string, text: string): Finding {
  const mend =
    code === "recipient_unknown"
      ? "the staffId (UserId) stands in oa.dingtalk.com → 通讯录 → 成员管理, and as senderStaffId in the bridge's log"
      : "docs/operations.md, dead letters, explains the code";
  return { check: "send", code, level: "error", account, text: `the test message was not delivered to ${text}`, mend };
}
