import type { FormatName } from "./config-formats.ts";

/** One robot. */
export interface AccountConfig {
  name: string;
  appKey: string;
  appSecret: string;
  robotCode: string;
  enabled: boolean;
}

/** What the daemon runs with: complete, checked, frozen. Times are milliseconds. */
export interface Config {
  /** At least one is enabled. */
  accounts: AccountConfig[];
  /** Shared with the gateway: the first is sent, all are accepted. Empty: one is derived per account. */
  tokens: string[];
  gateway: { url: string; eventsPath: string; timeoutMs: number; concurrency: number; includeRaw: boolean };
  inbound: { maxAgeMs: number };
  delivery: { concurrency: number; onUncertain: "retry" | "hold"; maxAgeMs: number; webhookMarginMs: number };
  limits: { apiPerSecond: number };
  server: { host: string; port: number };
  /** Absolute. */
  dataDir: string;
  dingtalk: { apiBase: string; oapiBase: string };
  proxy: { https: string | undefined; no: string | undefined };
  log: { level: string; format: "json" | "pretty" };
  retention: { settledMs: number; deadMs: number; conversationsMs: number };
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
  [K in keyof T]-?: T[K] extends string | number | boolean | undefined ? Setting<T[K]> : SchemaOf<T[K]>;
};

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Every setting but the accounts. `config/default.json5`, `.env.example` and `docs/configuration.md` are made from it. */
export const SCHEMA: SchemaOf<Settings> = {
  token: {
    doc: "Secret shared with the gateway, in both directions. While it is being changed two, separated by a comma: both are accepted, the first is sent. Without it each account's token is derived from its credentials, and nothing has to be carried over.",
    default: undefined,
    format: "token",
    env: "BRIDGE_TOKEN",
    sensitive: true,
    example: "your-shared-token",
  },
  gateway: {
    url: {
      doc: "Where the gateway listens. `ws:` and `wss:` are read as `http:` and `https:`.",
      default: "http://127.0.0.1:18789",
      format: "gatewayUrl",
      env: "BRIDGE_GATEWAY_URL",
      aliases: ["OPENCLAW_GATEWAY_URL"],
    },
    eventsPath: {
      doc: "Path at the gateway that envelopes are posted to.",
      default: "/dingtalk/events",
      format: "path",
      env: "BRIDGE_GATEWAY_EVENTS_PATH",
    },
    timeoutMs: {
      doc: "How long the gateway may take to answer a POST.",
      default: 30 * SECOND,
      format: "duration",
      env: "BRIDGE_GATEWAY_TIMEOUT",
      min: 100,
      max: 10 * MINUTE,
    },
    concurrency: {
      doc: "POSTs to the gateway at one time, over all conversations.",
      default: 32,
      format: "count",
      env: "BRIDGE_GATEWAY_CONCURRENCY",
      min: 1,
      max: 1_000,
    },
    includeRaw: {
      doc: "Adds DingTalk's own message to the envelope as `message.raw`.",
      default: false,
      format: "switch",
      env: "BRIDGE_GATEWAY_INCLUDE_RAW",
    },
  },
  inbound: {
    maxAgeMs: {
      doc: "A message that the gateway has not taken by then becomes a dead letter (`too_old`).",
      default: 12 * HOUR,
      format: "duration",
      env: "BRIDGE_INBOUND_MAX_AGE",
      min: MINUTE,
      max: 30 * DAY,
    },
  },
  delivery: {
    concurrency: {
      doc: "Replies on their way to DingTalk at one time, over all conversations.",
      default: 64,
      format: "count",
      env: "BRIDGE_DELIVERY_CONCURRENCY",
      min: 1,
      max: 1_000,
    },
    onUncertain: {
      doc: "What becomes of a reply that was sent and never answered: `retry` sends it again (it may appear twice), `hold` makes it a dead letter.",
      default: "retry",
      format: "choice",
      choices: ["retry", "hold"],
      env: "BRIDGE_DELIVERY_ON_UNCERTAIN",
    },
    maxAgeMs: {
      doc: "A reply that is not delivered by then becomes a dead letter.",
      default: 6 * HOUR,
      format: "duration",
      env: "BRIDGE_DELIVERY_MAX_AGE",
      min: MINUTE,
      max: 30 * DAY,
    },
    webhookMarginMs: {
      doc: "A conversation's session webhook is no longer used this long before it expires.",
      default: MINUTE,
      format: "duration",
      env: "BRIDGE_DELIVERY_WEBHOOK_MARGIN",
      min: 0,
      max: HOUR,
    },
  },
  limits: {
    apiPerSecond: {
      doc: "Calls per second, for each account and each API of DingTalk.",
      default: 20,
      format: "count",
      env: "BRIDGE_LIMITS_API_PER_SECOND",
      min: 1,
      max: 100_000,
    },
  },
  server: {
    host: {
      doc: "Address that the bridge's own API listens on. Every call there but the health checks needs a token, whatever the address.",
      default: "127.0.0.1",
      format: "host",
      env: "BRIDGE_HOST",
    },
    port: {
      doc: "Port of the bridge's own API; 0 takes any free one.",
      default: 8790,
      format: "count",
      env: "BRIDGE_PORT",
      flag: "--port",
      min: 0,
      max: 65_535,
    },
  },
  dataDir: {
    doc: "Directory of the database. A relative one starts at the working directory.",
    default: "./data",
    format: "directory",
    env: "BRIDGE_DATA_DIR",
    flag: "--data-dir",
  },
  dingtalk: {
    apiBase: {
      doc: "DingTalk's API host: another one for overseas or dedicated DingTalk, or the sandbox.",
      default: "https://api.dingtalk.com",
      format: "dingtalkUrl",
      env: "DINGTALK_API_BASE",
    },
    oapiBase: {
      doc: "DingTalk's older API host.",
      default: "https://oapi.dingtalk.com",
      format: "dingtalkUrl",
      env: "DINGTALK_OAPI_BASE",
    },
  },
  proxy: {
    https: {
      doc: "HTTP proxy for everything that goes to DingTalk, the WebSocket included. Calls to the gateway never go through it.",
      default: undefined,
      format: "proxyUrl",
      env: "HTTPS_PROXY",
      aliases: ["https_proxy"],
      sensitive: true,
      example: "http://proxy.example:3128",
    },
    no: {
      doc: "Hosts that are reached without the proxy, separated by commas.",
      default: undefined,
      format: "text",
      env: "NO_PROXY",
      aliases: ["no_proxy"],
      example: "localhost,127.0.0.1",
    },
  },
  log: {
    level: {
      doc: "Least important kind of line that is logged.",
      default: "info",
      format: "choice",
      choices: ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
      env: "LOG_LEVEL",
    },
    format: {
      doc: "`json` for machines, `pretty` for people.",
      default: "json",
      format: "choice",
      choices: ["json", "pretty"],
      env: "LOG_FORMAT",
    },
  },
  retention: {
    settledMs: {
      doc: "How long settled messages are kept; so long a repetition is recognised.",
      default: 7 * DAY,
      format: "duration",
      env: "BRIDGE_RETENTION_SETTLED",
      min: HOUR,
      max: 3_650 * DAY,
    },
    deadMs: {
      doc: "How long dead letters are kept.",
      default: 30 * DAY,
      format: "duration",
      env: "BRIDGE_RETENTION_DEAD",
      min: HOUR,
      max: 3_650 * DAY,
    },
    conversationsMs: {
      doc: "How long a conversation without messages is remembered.",
      default: 180 * DAY,
      format: "duration",
      env: "BRIDGE_RETENTION_CONVERSATIONS",
      min: HOUR,
      max: 3_650 * DAY,
    },
  },
  metrics: {
    public: {
      doc: "Serves `/metrics` without a token.",
      default: false,
      format: "switch",
      env: "BRIDGE_METRICS_PUBLIC",
    },
  },
  shutdown: {
    deadlineMs: {
      doc: "A stop that takes longer ends with exit code 1. Keep it below what systemd or Docker allow.",
      default: 25 * SECOND,
      format: "duration",
      env: "BRIDGE_SHUTDOWN_DEADLINE",
      min: 100,
      max: 10 * MINUTE,
    },
  },
};

/** Where an account's fields come from; those with a variable make the account `main`. */
export const ACCOUNT_FIELDS = {
  appKey: {
    doc: "Client ID (App Key) of the app.",
    env: "DINGTALK_APP_KEY",
    aliases: ["DINGTALK_CLIENT_ID"],
    sensitive: true,
    example: "your-app-key",
  },
  appSecret: {
    doc: "Client Secret (App Secret) of the app.",
    env: "DINGTALK_APP_SECRET",
    aliases: ["DINGTALK_CLIENT_SECRET"],
    sensitive: true,
    example: "your-app-secret",
  },
  robotCode: {
    doc: "Code of the app's robot. Default: the App Key, which is right for a robot of an internal app.",
    env: "DINGTALK_ROBOT_CODE",
    aliases: [],
    sensitive: false,
    example: "your-robot-code",
  },
} as const;

/** Variables that say where files are. */
export const FILE_VARIABLES = {
  config: {
    doc: "JSON5 file with any of the settings below, several accounts included.",
    env: "BRIDGE_CONFIG",
    aliases: [],
    flag: "--config",
    example: "./config.json5",
  },
  openclaw: {
    doc: "OpenClaw's own file: accounts are read from `channels.dingtalk`. Default: `~/.openclaw/openclaw.json`, and only when no account is configured elsewhere.",
    env: "OPENCLAW_CONFIG",
    aliases: ["OPENCLAW_CONFIG_PATH"],
    flag: undefined,
    example: "~/.openclaw/openclaw.json",
  },
} as const;

/** Every setting with its path in a file, in the order of the schema. */
export function listSettings(node: object = SCHEMA, prefix = ""): { path: string; setting: Setting }[] {
  return Object.entries(node).flatMap(([key, child]: [string, Setting | object]) =>
    "default" in child ? [{ path: `${prefix}${key}`, setting: child }] : listSettings(child, `${prefix}${key}.`),
  );
}
