import type { PlanName } from "../domain/quota.ts";

export type ReplyFormat = "auto" | "card" | "markdown" | "text";

/** How the replies of an account look (the `reply` section of the configuration). */
export interface ReplySettings {
  format: ReplyFormat;
  /** Of direct conversations and of groups, where it is another than `format`. */
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

/** A template and its variable that the text goes into. */
export interface CardTemplate {
  id: string;
  key: string;
}

/** Public, of DingTalk's own connector (dingtalk-protocol.md §4.5). */
const PUBLIC_TEMPLATE: CardTemplate = { id: "02fcf2f4-5e02-4a85-b672-46d1f715543e.schema", key: "msgContent" };
const OWN_KEY = "content";
/** Updates of one card on plan `standard`: with its creation and its end 8 Open API calls (design §9). */
const STANDARD_UPDATES = 6;

/** Undefined: no cards. */
export function templateOf({ cardTemplateId: id, cardTemplateKey: key }: ReplySettings): CardTemplate | undefined {
  if (id === "off") return undefined;
  const template = id === "auto" ? PUBLIC_TEMPLATE : { id, key: OWN_KEY };
  return key === "auto" ? template : { ...template, key };
}

/** The format of one reply: its own, that of its kind of conversation, the account's. */
export function formatOf(settings: ReplySettings, isGroup: boolean, asked?: ReplyFormat): ReplyFormat {
  const byKind = isGroup ? settings.group : settings.direct;
  return asked ?? (byKind === "inherit" ? settings.format : byKind);
}

/** How many updates a card may have; undefined: any number. */
export function mostUpdates({ cardUpdates }: ReplySettings, plan: PlanName): number | undefined {
  if (cardUpdates > 0) return cardUpdates;
  return plan === "standard" ? STANDARD_UPDATES : undefined;
}
