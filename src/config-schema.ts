import { ALERTS } from "./config-schema-alerts.ts";
import { LIMITS, MEDIA, NOTICES, RETENTION } from "./config-schema-limits.ts";
import { REPLY } from "./config-schema-reply.ts";
import type { SchemaOf, Setting, Settings } from "./config-types.ts";

export type { AccountConfig, Config, ReplySettings, Setting, Settings } from "./config-types.ts";

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
  language: {
    doc: "Language of the few lines that the bridge itself says to people.",
    default: "zh-CN",
    format: "choice",
    choices: ["zh-CN", "en"],
    env: "BRIDGE_LANGUAGE",
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
    stopWords: {
      doc: "A message that is one of these words, and nothing else, does not wait behind others: it goes to the gateway at once, and what its sender wrote before in that conversation and nobody has taken is cancelled.",
      default: ["/stop"],
      format: "list",
      env: "BRIDGE_INBOUND_STOP_WORDS",
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
  reply: REPLY,
  quota: {
    plan: {
      doc: "DingTalk edition of the organisation, which sets the month's budgets: `standard` 5,000 Open API calls and 3,000 Webhook & Stream units, `professional` 200,000 and 50,000. Only DingTalk itself refuses anything; the numbers decide which road a reply takes and when a warning is due.",
      default: "standard",
      format: "choice",
      choices: ["standard", "professional"],
      env: "BRIDGE_QUOTA_PLAN",
    },
    calls: {
      doc: "Open API calls of a month, where they differ from the plan's (an add-on, or an organisation from before November 2025); 0 takes the plan's.",
      default: 0,
      format: "count",
      env: "BRIDGE_QUOTA_CALLS",
      min: 0,
      max: 1_000_000_000,
    },
    units: {
      doc: "Webhook & Stream units of a month, where they differ from the plan's; 0 takes the plan's.",
      default: 0,
      format: "count",
      env: "BRIDGE_QUOTA_UNITS",
      min: 0,
      max: 1_000_000_000,
    },
  },
  limits: LIMITS,
  notices: NOTICES,
  alerts: ALERTS,
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
    publicUrl: {
      doc: "How the gateway reaches the bridge: what the links to pictures and files begin with. Default: made from `server.host` and `server.port`, with 127.0.0.1 for an address that means all.",
      default: undefined,
      format: "gatewayUrl",
      env: "BRIDGE_PUBLIC_URL",
      example: "http://dingtalk-bridge:8790",
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
  disk: {
    minFreeMb: {
      doc: "Megabytes that should be free on the disk of the data directory. Below, no media is fetched; below half of it the API takes nothing new (503 `disk_low`); below a quarter messages from DingTalk are not acknowledged, so that it sends them again. 0 switches this off.",
      default: 200,
      format: "count",
      env: "BRIDGE_DISK_MIN_FREE_MB",
      min: 0,
      max: 1_000_000,
    },
  },
  media: MEDIA,
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
  retention: RETENTION,
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

/** Every setting with its path in a file, in the order of the schema. */
export function listSettings(node: object = SCHEMA, prefix = ""): { path: string; setting: Setting }[] {
  return Object.entries(node).flatMap(([key, child]: [string, Setting | object]) =>
    "default" in child ? [{ path: `${prefix}${key}`, setting: child }] : listSettings(child, `${prefix}${key}.`),
  );
}
