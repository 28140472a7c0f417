import type { SchemaOf, Settings } from "./config-types.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const LIMITS: SchemaOf<Settings["limits"]> = {
  apiPerSecond: {
    doc: "Calls per second, for each account and each API of DingTalk.",
    default: 20,
    format: "count",
    env: "BRIDGE_LIMITS_API_PER_SECOND",
    min: 1,
    max: 100_000,
  },
  conversationPerSecond: {
    doc: "Sends per second to one conversation.",
    default: 5,
    format: "count",
    env: "BRIDGE_LIMITS_CONVERSATION_PER_SECOND",
    min: 1,
    max: 100_000,
  },
  groupPerMinute: {
    doc: "Sends per minute to one group.",
    default: 20,
    format: "count",
    env: "BRIDGE_LIMITS_GROUP_PER_MINUTE",
    min: 1,
    max: 100_000,
  },
  perPersonPerDay: {
    doc: "Messages of one person that go to the gateway in a day (00:00 to 24:00 Asia/Shanghai); further ones are answered by one polite line. 0 = no limit.",
    default: 0,
    format: "count",
    env: "BRIDGE_LIMITS_PER_PERSON_PER_DAY",
    min: 0,
    max: 1_000_000,
  },
  exempt: {
    doc: "staffIds (or senderIds of people without one) that `limits.perPersonPerDay` does not concern.",
    default: [],
    format: "list",
    env: "BRIDGE_LIMITS_EXEMPT",
  },
  cardPerSecond: {
    doc: "Calls per second, for each account, of all card APIs together.",
    default: 15,
    format: "count",
    env: "BRIDGE_LIMITS_CARD_PER_SECOND",
    min: 1,
    max: 100_000,
  },
  openPerLane: {
    doc: "Replies to one conversation that may wait; more are refused with 503 `queue_full` until some are delivered.",
    default: 1_000,
    format: "count",
    env: "BRIDGE_LIMITS_OPEN_PER_LANE",
    min: 1,
    max: 1_000_000,
  },
  openTotal: {
    doc: "Replies that may wait over all conversations and accounts.",
    default: 100_000,
    format: "count",
    env: "BRIDGE_LIMITS_OPEN_TOTAL",
    min: 1,
    max: 10_000_000,
  },
};

export const NOTICES: SchemaOf<Settings["notices"]> = {
  away: {
    doc: "Tell a conversation, once per outage, that the assistant is away and its message is kept.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_AWAY",
  },
  awayAfterMs: {
    doc: "How long a message has to have waited before that line is sent.",
    default: MINUTE,
    format: "duration",
    env: "BRIDGE_NOTICES_AWAY_AFTER",
    min: SECOND,
    max: DAY,
  },
  waiting: {
    doc: "Tell a conversation, once, that its message waits behind other work of the assistant.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_WAITING",
  },
  givenUp: {
    doc: "Tell a conversation that a reply could not be delivered and was given up.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_GIVEN_UP",
  },
  quotaUsedUp: {
    doc: "Tell a conversation, once a day, that the organisation's monthly DingTalk quota is used up.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_QUOTA_USED_UP",
  },
  personLimit: {
    doc: "Tell a person, once a day, that the limit per person and day is reached.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_PERSON_LIMIT",
  },
  fileRefused: {
    doc: "Tell a conversation that a file of the assistant could not be delivered.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_FILE_REFUSED",
  },
  interrupted: {
    doc: "Say at the end of a reply that the assistant left unfinished that it was interrupted.",
    default: true,
    format: "switch",
    env: "BRIDGE_NOTICES_INTERRUPTED",
  },
};

export const MEDIA: SchemaOf<Settings["media"]> = {
  maxMb: {
    doc: "Largest file, in megabytes, that is fetched from DingTalk, taken from the gateway, or sent. DingTalk itself takes no more than 20.",
    default: 20,
    format: "count",
    env: "BRIDGE_MEDIA_MAX_MB",
    min: 1,
    max: 1_024,
  },
  maxTotalMb: {
    doc: "Megabytes that stored files may take in all; the oldest that no open message needs go first.",
    default: 2_048,
    format: "count",
    env: "BRIDGE_MEDIA_MAX_TOTAL_MB",
    min: 1,
    max: 1_048_576,
  },
};

export const RETENTION: SchemaOf<Settings["retention"]> = {
  messagesMs: {
    doc: "How long what was said is kept after a message was settled: text, names, file names and DingTalk's own message, both ways. 0 = no longer than needed: it goes with the settlement. Ids and keys stay for `retention.settledMs`, and dead letters keep everything, because they can be replayed.",
    default: 7 * DAY,
    format: "duration",
    env: "BRIDGE_RETENTION_MESSAGES",
    min: 0,
    max: 3_650 * DAY,
  },
  settledMs: {
    doc: "How long settled messages are remembered: so long a repetition is recognised. What was said in them goes with them, or earlier: `retention.messagesMs`.",
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
  mediaMs: {
    doc: "How long files, received and uploaded, are kept.",
    default: 7 * DAY,
    format: "duration",
    env: "BRIDGE_RETENTION_MEDIA",
    min: HOUR,
    max: 3_650 * DAY,
  },
};
