import type { FormatName } from "./config-formats.ts";
import type { PlanName } from "./domain/quota.ts";

export type ReplyFormat = "auto" | "card" | "markdown" | "text";

/** How the replies of an account look. */
export interface ReplySettings {
  format: ReplyFormat;
  direct: ReplyFormat | "inherit";
  group: ReplyFormat | "inherit";
  /** `auto`, `off`, or the id of a template. */
  cardTemplateId: string;
  /** `auto`, or a variable of the template. */
  cardTemplateKey: string;
  cardCharacters: number;
  /** 0 = by `quota.plan`. */
  cardUpdates: number;
  cardIntervalMs: number;
  cardMaxIntervalMs: number;
  idleTimeoutMs: number;
  indicator: "auto" | "always" | "off";
  indicatorAfterMs: number;
  indicatorText: string;
}

/** One robot. */
export interface AccountConfig {
  name: string;
  appKey: string;
  appSecret: string;
  robotCode: string;
  enabled: boolean;
  /** What people call the robot: stands before the words of a card in the list of chats. */
  botName?: string;
  /** Shared with the gateway for this account alone, where there is no common one: the first is sent, all are accepted. */
  tokens?: string[];
  /** The common settings with the account's own over them. */
  reply: ReplySettings;
}

/** What the daemon runs with: complete, checked, frozen. Times are milliseconds. */
export interface Config {
  /** At least one is enabled. */
  accounts: AccountConfig[];
  /** Shared with the gateway: the first is sent, all are accepted. Empty: one is derived per account. */
  tokens: string[];
  gateway: { url: string; eventsPath: string; timeoutMs: number; concurrency: number; includeRaw: boolean };
  language: "zh-CN" | "en";
  inbound: { maxAgeMs: number; stopWords: string[] };
  delivery: { concurrency: number; onUncertain: "retry" | "hold"; maxAgeMs: number; webhookMarginMs: number };
  reply: ReplySettings;
  quota: { plan: PlanName; calls: number; units: number };
  limits: {
    apiPerSecond: number;
    conversationPerSecond: number;
    groupPerMinute: number;
    perPersonPerDay: number;
    exempt: string[];
    cardPerSecond: number;
    openPerLane: number;
    openTotal: number;
  };
  notices: {
    away: boolean;
    awayAfterMs: number;
    waiting: boolean;
    givenUp: boolean;
    quotaUsedUp: boolean;
    personLimit: boolean;
    fileRefused: boolean;
    interrupted: boolean;
  };
  alerts: {
    to: string[];
    credentials: boolean;
    gatewayAway: boolean;
    gatewayAwayAfterMs: number;
    deadLetter: boolean;
    quota: boolean;
    secondConsumer: boolean;
  };
  server: { host: string; port: number; publicUrl: string | undefined };
  /** Absolute. */
  dataDir: string;
  dingtalk: { apiBase: string; oapiBase: string };
  proxy: { https: string | undefined; no: string | undefined };
  disk: { minFreeMb: number };
  media: { maxMb: number; maxTotalMb: number };
  log: { level: string; format: "json" | "pretty" };
  retention: { messagesMs: number; settledMs: number; deadMs: number; conversationsMs: number; mediaMs: number };
  metrics: { public: boolean };
  shutdown: { deadlineMs: number };
}

/** The settings as they stand in a file: one `token` string instead of a list, accounts apart. */
export type Settings = Omit<Config, "accounts" | "tokens"> & { token: string | undefined };

/** One entry of the schema: convict's own fields, and what our sources, checks and documents need. */
export type Setting<T = unknown> = {
  doc: string;
  default: T;
  format: FormatName;
  env: string;
  /** Other variables that say the same; `env` goes first. */
  aliases?: readonly string[];
  flag?: string;
  /** Never printed, and also read from the file that `<VARIABLE>_FILE` (in a file: `<key>File`) names. */
  sensitive?: boolean;
  min?: number;
  max?: number;
  choices?: readonly string[];
  /** For the documents, where there is no default to show. */
  example?: string;
};

export type SchemaOf<T> = {
  [K in keyof T]-?: T[K] extends string | number | boolean | undefined | string[] ? Setting<T[K]> : SchemaOf<T[K]>;
};
