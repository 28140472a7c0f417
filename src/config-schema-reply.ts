import type { SchemaOf, Settings } from "./config-types.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

const FORMATS = ["auto", "card", "markdown", "text"];

/** How replies look. An account may have a `reply` section of its own in the file, whose settings go before these. */
export const REPLY: SchemaOf<Settings["reply"]> = {
  format: {
    doc: "How a reply that grows is shown. `auto`: as a card that fills up while the assistant writes, as long as a template is there and the month's budget allows; `card`: the same, whatever the budget says; `markdown`: one message at the end; `text`: the same without markup.",
    default: "auto",
    format: "choice",
    choices: FORMATS,
    env: "BRIDGE_REPLY_FORMAT",
  },
  direct: {
    doc: "`reply.format` of direct conversations, where it is another.",
    default: "inherit",
    format: "choice",
    choices: ["inherit", ...FORMATS],
    env: "BRIDGE_REPLY_DIRECT",
  },
  group: {
    doc: "`reply.format` of groups, where it is another.",
    default: "inherit",
    format: "choice",
    choices: ["inherit", ...FORMATS],
    env: "BRIDGE_REPLY_GROUP",
  },
  cardTemplateId: {
    doc: "Template of the cards: `auto` is the public one that DingTalk's own connector uses, `off` shows no cards, anything else is the id of your own template (docs/cards.md).",
    default: "auto",
    format: "text",
    env: "DINGTALK_CARD_TEMPLATE_ID",
  },
  cardTemplateKey: {
    doc: "Variable of the template that the text goes into, with its streaming switch on. `auto`: `msgContent` for the public template, `content` for your own.",
    default: "auto",
    format: "text",
    env: "DINGTALK_CARD_TEMPLATE_KEY",
  },
  cardCharacters: {
    doc: "A card that has so many characters is closed, and the rest of the reply follows as messages: clients show longer cards blank.",
    default: 3_000,
    format: "count",
    env: "BRIDGE_REPLY_CARD_CHARACTERS",
    min: 200,
    max: 10_000,
  },
  cardUpdates: {
    doc: "Updates of one card at most, besides its first text and its last. 0 takes what suits `quota.plan`: 6 for `standard`, no limit else.",
    default: 0,
    format: "count",
    env: "BRIDGE_REPLY_CARD_UPDATES",
    min: 0,
    max: 10_000,
  },
  cardIntervalMs: {
    doc: "Shortest time between two updates of a card.",
    default: SECOND,
    format: "duration",
    env: "BRIDGE_REPLY_CARD_INTERVAL",
    min: 200,
    max: MINUTE,
  },
  cardMaxIntervalMs: {
    doc: "Longest time between two updates of a card: the interval grows by half with each. Where `cardUpdates` are few it follows from them.",
    default: 8 * SECOND,
    format: "duration",
    env: "BRIDGE_REPLY_CARD_MAX_INTERVAL",
    min: 200,
    max: 10 * MINUTE,
  },
  idleTimeoutMs: {
    doc: "A reply that the gateway began and of which nothing is heard for so long is finished with what is known. The gateway may ask for less.",
    default: 10 * MINUTE,
    format: "duration",
    env: "BRIDGE_REPLY_IDLE_TIMEOUT",
    min: 5 * SECOND,
    max: 24 * 60 * MINUTE,
  },
  indicator: {
    doc: "A reaction on the person's message while the assistant works. `auto`: only when nothing of the reply is to be seen after `indicatorAfterMs`, and never while the month's budget runs ahead; `always`: at once; `off`: never. Each costs two Open API calls.",
    default: "auto",
    format: "choice",
    choices: ["auto", "always", "off"],
    env: "BRIDGE_REPLY_INDICATOR",
  },
  indicatorAfterMs: {
    doc: "How long nothing has to be seen before the reaction is attached.",
    default: 4 * SECOND,
    format: "duration",
    env: "BRIDGE_REPLY_INDICATOR_AFTER",
    min: 0,
    max: 10 * MINUTE,
  },
  indicatorText: {
    doc: "What the reaction says. DingTalk takes short words with an emoji; it refuses some.",
    default: "🤔思考中",
    format: "text",
    env: "BRIDGE_REPLY_INDICATOR_TEXT",
  },
};
