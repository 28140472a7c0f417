import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { accountSections, channelSection } from "./accounts.ts";
import { unknownGroupSettings } from "./groups.ts";

/** Settings of `channels.dingtalk` that this plugin reads, directly under it and per account. */
export const ACCOUNT_SETTINGS = [
  "enabled",
  "name",
  "botName",
  "appKey",
  "appSecret",
  "clientId",
  "clientSecret",
  "bridgeUrl",
  "bridgeToken",
  "dmPolicy",
  "allowFrom",
  "groupPolicy",
  "groupAllowFrom",
  "groups",
  "streaming",
  "mentionSender",
  "mediaMaxMb",
] as const;

/** Only directly under `channels.dingtalk`. */
export const TOP_LEVEL_SETTINGS = ["accounts", "defaultAccount"] as const;

/** Read by OpenClaw itself, in any channel. */
const HOST_SETTINGS = [
  "capabilities",
  "commands",
  "configWrites",
  "contextVisibility",
  "defaultTo",
  "dmHistoryLimit",
  "dms",
  "healthMonitor",
  "heartbeat",
  "historyLimit",
  "markdown",
  "mentionPatterns",
  "replyToMode",
  "responsePrefix",
  "tts",
];

/**
 * Settings of other DingTalk plugins under the same key. They have no effect here, and whoever comes from such a plugin
 * should not have to clean up first. Sources: the configuration schemas of DingTalk-Real-AI/dingtalk-openclaw-connector,
 * soimy/openclaw-channel-dingtalk and BytePioneer-AI/openclaw-china.
 */
const FOREIGN_SETTINGS = [
  "ackReaction",
  "ackText",
  "agentId",
  "aicardDegradeMs",
  "asyncMode",
  "bypassProxyForSend",
  "cardAtSender",
  "cardRealTimeStream",
  "cardTemplateId",
  "cardTemplateKey",
  "chunkMode",
  "connectionMode",
  "convertMarkdownTables",
  "corpId",
  "debug",
  "displayNameResolution",
  "enableAICard",
  "enableMediaUpload",
  "endpoint",
  "feedbackLearningAutoApply",
  "feedbackLearningEnabled",
  "feedbackLearningNoteTtlMs",
  "gatewayPassword",
  "gatewayToken",
  "gatewayUrl",
  "groupSessionScope",
  "inboundMedia",
  "initialReconnectDelay",
  "journalTTLDays",
  "keepAlive",
  "learningAutoApply",
  "learningEnabled",
  "learningNoteTtlMs",
  "longTaskNoticeDelayMs",
  "maxConnectionAttempts",
  "maxFileSizeMB",
  "maxReconnectCycles",
  "maxReconnectDelay",
  "mediaUrlAllowlist",
  "messageType",
  "proactivePermissionHint",
  "reconnectDeadlineMs",
  "reconnectJitter",
  "requireMention",
  "resolveSenderNames",
  "robotCode",
  "secretKey",
  "separateSessionByConversation",
  "sessionTimeout",
  "sharedMemoryAcrossConversations",
  "showThinking",
  "supportCaseRouter",
  "systemPrompt",
  "textChunkLimit",
  "tools",
  "typingIndicator",
  "useConnectionManager",
  "verboseRealtime",
];

/** What stands under `channels.dingtalk` without an effect, with its place below it. */
export interface UnreadSettings {
  /** Known from other DingTalk plugins. */
  foreign: string[];
  /** Known to nobody: most likely misspelt, and a misspelt policy must not pass unnoticed. */
  unknown: string[];
}

const READ = new Set<string>([...ACCOUNT_SETTINGS, ...HOST_SETTINGS]);
const TOP_LEVEL = new Set<string>(TOP_LEVEL_SETTINGS);
const FOREIGN = new Set(FOREIGN_SETTINGS);

export function unreadSettings(cfg: OpenClawConfig): UnreadSettings {
  const section = channelSection(cfg);
  const unread: UnreadSettings = { foreign: [], unknown: [] };
  const sort = (key: string, at: string): void => {
    if (!READ.has(key)) unread[FOREIGN.has(key) ? "foreign" : "unknown"].push(`${at}${key}`);
  };
  for (const key of Object.keys(section)) if (!TOP_LEVEL.has(key)) sort(key, "");
  unread.unknown.push(...unknownGroupSettings(section["groups"]));
  for (const [id, account] of Object.entries(accountSections(section))) {
    for (const key of Object.keys(account)) sort(key, `accounts.${id}.`);
    unread.unknown.push(...unknownGroupSettings(account["groups"], `accounts.${id}.groups`));
  }
  return unread;
}

/** One line each, for the log. */
export function unreadSettingLines(cfg: OpenClawConfig): { info: string[]; warn: string[] } {
  const { foreign, unknown } = unreadSettings(cfg);
  return {
    info:
      foreign.length > 0
        ? [
            `dingtalk: ignored settings of channels.dingtalk that belong to other DingTalk plugins: ${foreign.join(", ")}`,
          ]
        : [],
    warn:
      unknown.length > 0
        ? [`dingtalk: nobody reads these settings of channels.dingtalk, are they misspelt? ${unknown.join(", ")}`]
        : [],
  };
}
