import type { Language } from "./notices.ts";
import type { Budget } from "./quota.ts";

/** What an operator is told about by DingTalk message (`alerts.to`). */
export const ALERT_KINDS = ["credentials", "gatewayAway", "deadLetter", "quota", "secondConsumer"] as const;

export type AlertKind = (typeof ALERT_KINDS)[number];

/** What the line says, by kind. */
export type AlertNews =
  | { kind: "credentials"; accounts: readonly string[] }
  /** `detail`: what is wrong with the gateway, as health says it. */
  | { kind: "gatewayAway"; minutes: number; detail: string }
  /** `code` and `id` of the latest one. */
  | { kind: "deadLetter"; count: number; code: string; id: string }
  | { kind: "quota"; budgets: readonly { accounts: readonly string[]; budget: Budget; percent: number }[] }
  | { kind: "secondConsumer"; accounts: readonly string[] };

const BUDGETS: Record<Language, Record<Budget, string>> = {
  "zh-CN": { calls: "API 调用量", units: "Webhook 与 Stream 用量" },
  en: { calls: "Open API calls", units: "Webhook & Stream units" },
};
const MARK = "[dingtalk-bridge]";

/** One message in the language of the notices; it names what to do. */
export function alertText(news: AlertNews, language: Language): string {
  return `${MARK} ${language === "en" ? english(news) : chinese(news)}`;
}

function chinese(news: AlertNews): string {
  switch (news.kind) {
    case "credentials":
      return `钉钉拒绝了账号 ${news.accounts.join("、")} 的 App Key 或 App Secret，机器人收不到消息。请在 凭证与基础信息 中重新复制，更新配置后重启 bridge。检查命令：dingtalk-bridge doctor`;
    case "gatewayAway":
      return `网关已有 ${news.minutes} 分钟无法接收消息（${news.detail}）。消息都已保存，恢复后会继续处理。检查命令：dingtalk-bridge doctor`;
    case "deadLetter":
      return `有 ${news.count} 条消息未能送达，最近一条：${news.code}，${news.id}。查看命令：dingtalk-bridge dead-letters`;
    case "quota":
      return `本月额度即将用完：${news.budgets.map((one) => `${one.accounts.join("、")} 的${BUDGETS["zh-CN"][one.budget]}已用 ${one.percent}%`).join("；")}。查看命令：dingtalk-bridge quota`;
    case "secondConsumer":
      return `账号 ${news.accounts.join("、")} 的连接多次刚建立就被钉钉关闭，可能有另一个程序在使用同一个 Client ID，部分消息会被它取走。请停掉其中一个。`;
  }
}

function english(news: AlertNews): string {
  switch (news.kind) {
    case "credentials":
      return `DingTalk refuses App Key or App Secret of ${news.accounts.join(", ")}: the robot hears nothing. Copy both again (凭证与基础信息), change the settings and restart the bridge. To check: dingtalk-bridge doctor`;
    case "gatewayAway":
      return `The gateway has taken no messages for ${news.minutes} minutes (${news.detail}). All are kept. To check: dingtalk-bridge doctor`;
    case "deadLetter":
      return `${news.count === 1 ? "A message" : `${news.count} messages`} could not be delivered, the latest: ${news.code}, ${news.id}. To look: dingtalk-bridge dead-letters`;
    case "quota":
      return `The month's quota runs out: ${news.budgets.map((one) => `${one.percent} % of the ${BUDGETS.en[one.budget]} of ${one.accounts.join(", ")} are used`).join("; ")}. To look: dingtalk-bridge quota`;
    case "secondConsumer":
      return `DingTalk closes the connections of ${news.accounts.join(", ")} as soon as they are open, again and again: perhaps another program uses the same Client ID and takes some of the messages. Stop one of them.`;
  }
}
