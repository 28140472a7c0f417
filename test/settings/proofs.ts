/*
 * Where it is proved that a setting changes what the bridge does: by file, the titles of the tests, each with the settings that it
 * is about. A title is what a test's begins with, group included. proofs.test.ts checks that all settings are here;
 * `npm run test:settings` proves the proofs: each test has to fail when the bridge ignores the setting.
 */

export interface Proof {
  path: string;
  file: string;
  title: string;
}

const BY_FILE: Record<string, Record<string, string | readonly string[]>> = {
  "test/settings/gateway.test.ts": {
    "BRIDGE_TOKEN:": "token",
    "BRIDGE_GATEWAY_URL:": "gateway.url",
    "BRIDGE_GATEWAY_EVENTS_PATH:": "gateway.eventsPath",
    "BRIDGE_GATEWAY_TIMEOUT:": "gateway.timeoutMs",
    "BRIDGE_GATEWAY_CONCURRENCY:": "gateway.concurrency",
    "BRIDGE_GATEWAY_INCLUDE_RAW:": "gateway.includeRaw",
    "BRIDGE_INBOUND_MAX_AGE:": "inbound.maxAgeMs",
    "BRIDGE_DELIVERY_MAX_AGE:": "delivery.maxAgeMs",
    "BRIDGE_DELIVERY_CONCURRENCY:": "delivery.concurrency",
    "BRIDGE_DATA_DIR:": "dataDir",
  },
  "test/settings/server.test.ts": {
    "BRIDGE_HOST:": "server.host",
    "BRIDGE_PORT:": "server.port",
    "BRIDGE_PUBLIC_URL:": "server.publicUrl",
    "BRIDGE_METRICS_PUBLIC:": "metrics.public",
    "DINGTALK_API_BASE, DINGTALK_OAPI_BASE:": ["dingtalk.apiBase", "dingtalk.oapiBase"],
    "HTTPS_PROXY:": "proxy.https",
    "NO_PROXY:": "proxy.no",
  },
  "test/settings/words.test.ts": {
    "BRIDGE_NOTICES_AWAY:": "notices.away",
    "BRIDGE_NOTICES_GIVEN_UP:": "notices.givenUp",
    "BRIDGE_NOTICES_QUOTA_USED_UP:": "notices.quotaUsedUp",
    "BRIDGE_NOTICES_PERSON_LIMIT:": "notices.personLimit",
    "BRIDGE_NOTICES_FILE_REFUSED:": "notices.fileRefused",
    "BRIDGE_LIMITS_EXEMPT:": "limits.exempt",
    "BRIDGE_ALERTS_DEAD_LETTER:": "alerts.deadLetter",
    "BRIDGE_ALERTS_GATEWAY_AWAY:": "alerts.gatewayAway",
    "BRIDGE_ALERTS_QUOTA:": "alerts.quota",
    "BRIDGE_QUOTA_UNITS:": "quota.units",
    "BRIDGE_ALERTS_CREDENTIALS:": "alerts.credentials",
    "BRIDGE_ALERTS_SECOND_CONSUMER:": "alerts.secondConsumer",
  },
  "test/settings/reply.test.ts": {
    "BRIDGE_REPLY_DIRECT, BRIDGE_REPLY_GROUP:": ["reply.direct", "reply.group"],
    "BRIDGE_REPLY_CARD_INTERVAL:": "reply.cardIntervalMs",
    "BRIDGE_REPLY_CARD_UPDATES:": "reply.cardUpdates",
    "BRIDGE_REPLY_CARD_MAX_INTERVAL:": "reply.cardMaxIntervalMs",
    "BRIDGE_QUOTA_PLAN:": "quota.plan",
    "BRIDGE_LIMITS_CARD_PER_SECOND:": "limits.cardPerSecond",
  },
  "test/settings/keeping.test.ts": {
    "BRIDGE_RETENTION_SETTLED:": "retention.settledMs",
    "BRIDGE_RETENTION_DEAD:": "retention.deadMs",
    "BRIDGE_RETENTION_CONVERSATIONS:": "retention.conversationsMs",
    "BRIDGE_RETENTION_MEDIA:": "retention.mediaMs",
    "BRIDGE_MEDIA_MAX_TOTAL_MB:": "media.maxTotalMb",
    "BRIDGE_DISK_MIN_FREE_MB:": "disk.minFreeMb",
  },
  "test/settings/log.test.ts": {
    "LOG_FORMAT: pretty for people": "log.format",
    "LOG_LEVEL:": "log.level",
  },
  "test/flows/alerts.test.ts": {
    "nobody is told unless somebody is named": "alerts.to",
    "the gateway is away: after the time that is set": "alerts.gatewayAwayAfterMs",
    "80 % of a budget of the month": "quota.calls",
  },
  "test/flows/notices.test.ts": {
    "says that the assistant is away, once, over a restart too (": ["language", "notices.awayAfterMs"],
    "says that a message waits behind other work": "notices.waiting",
  },
  "test/flows/control-lane.test.ts": {
    "is the whole message, in any case and among spaces, and can be chosen": "inbound.stopWords",
  },
  "test/flows/outbound.test.ts": {
    "leaves a webhook alone in the last margin of its life": "delivery.webhookMarginMs",
    "never sends more per second to one API than is allowed": "limits.apiPerSecond",
    "is held for a person to look at with onUncertain=hold": "delivery.onUncertain",
  },
  "test/flows/reply-settings.test.ts": {
    "an account's own section goes before what holds for all": "reply.format",
    "may be none": "reply.cardTemplateId",
    "may be one's own, ": "reply.cardTemplateKey",
    "a reply that its gateway left says so, or not": "notices.interrupted",
  },
  "test/flows/streams-long.test.ts": {
    "closes the card at once, and sends the rest when it ends": "reply.cardCharacters",
  },
  "test/sandbox/gateway-streams.test.ts": {
    "are sent as a message when the bridge has ended them meanwhile": "reply.idleTimeoutMs",
  },
  "test/flows/indicator.test.ts": {
    "always: at once": "reply.indicator",
    "another time and another text": ["reply.indicatorAfterMs", "reply.indicatorText"],
  },
  "test/flows/throttle.test.ts": {
    "are never exceeded under random latency": "limits.conversationPerSecond",
    "of a group's minute hold over a restart": "limits.groupPerMinute",
  },
  "test/flows/person-limit.test.ts": {
    "lets so many through, all at once or over a restart": "limits.perPersonPerDay",
  },
  "test/http/bounds.test.ts": {
    "refuses what does not fit": ["limits.openPerLane", "limits.openTotal"],
  },
  "test/http/media-bridge.test.ts": {
    "keeps files across a restart, without what a crash left": "media.maxMb",
  },
  "test/e2e/forget.test.ts": {
    "BRIDGE_RETENTION_MESSAGES=0:": "retention.messagesMs",
  },
  "test/e2e/deadline.test.ts": {
    "is cut off at its deadline: exit 1": "shutdown.deadlineMs",
  },
};

export const PROOFS: readonly Proof[] = Object.entries(BY_FILE).flatMap(([file, tests]) =>
  Object.entries(tests).flatMap(([title, paths]) => [paths].flat().map((path) => ({ path, file, title }))),
);
