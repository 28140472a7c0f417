import type { SchemaOf, Settings } from "./config-types.ts";

const MINUTE = 60_000;

export const ALERTS: SchemaOf<Settings["alerts"]> = {
  to: {
    doc: "Whom the bridge tells by DingTalk message what an operator has to know: `user:<staffId>` or `conversation:<id>` of a group, several separated by commas. Each kind at most once an hour; the messages count in the month's quota. Empty: nobody.",
    default: [],
    format: "targets",
    env: "BRIDGE_ALERTS_TO",
  },
  credentials: {
    doc: "Tell them that DingTalk refuses the credentials of an account (through another account).",
    default: true,
    format: "switch",
    env: "BRIDGE_ALERTS_CREDENTIALS",
  },
  gatewayAway: {
    doc: "Tell them that the gateway takes no messages.",
    default: true,
    format: "switch",
    env: "BRIDGE_ALERTS_GATEWAY_AWAY",
  },
  gatewayAwayAfterMs: {
    doc: "How long the gateway has to have been away before that line is sent.",
    default: 5 * MINUTE,
    format: "duration",
    env: "BRIDGE_ALERTS_GATEWAY_AWAY_AFTER",
    min: 0,
    max: 24 * 60 * MINUTE,
  },
  deadLetter: {
    doc: "Tell them of new dead letters.",
    default: true,
    format: "switch",
    env: "BRIDGE_ALERTS_DEAD_LETTER",
  },
  quota: {
    doc: "Tell them when 80 and 95 % of a budget of the month are used.",
    default: true,
    format: "switch",
    env: "BRIDGE_ALERTS_QUOTA",
  },
  secondConsumer: {
    doc: "Tell them that a second program seems to use the same Client ID.",
    default: true,
    format: "switch",
    env: "BRIDGE_ALERTS_SECOND_CONSUMER",
  },
};
