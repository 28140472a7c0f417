import { isObject, type ApiContext } from "./dingtalk-api.ts";
import type { CardPress, SimulatedCard } from "./dingtalk-card-types.ts";
import type { Params } from "./dingtalk-cards.ts";
import { cardTopic, type Delivery } from "./dingtalk-delivery.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { AckRecord, PushHandle } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

/** Presses whose answer may still change their card. */
const PRESSES_KEPT = 1_000;

interface Pressed {
  handle: PushHandle;
  card: SimulatedCard;
  userId: string;
}

/** Turns presses of a card's controls into action callbacks, and their answers into changes of the card (dingtalk-protocol.md §4.6). */
export class CardPresses {
  readonly #context: ApiContext;
  readonly #delivery: Delivery;
  #pressed: Pressed[] = [];

  constructor(context: ApiContext, delivery: Delivery) {
    this.#context = context;
    this.#delivery = delivery;
    context.records.events.on("ack", (ack) => this.#answered(ack));
  }

  /** Throws when there is no such card in a chat: nobody could press it. */
  press(press: CardPress): PushHandle {
    const { world, cards, knobs } = this.#context;
    const apps = press.app === undefined ? world.apps : [world.app(press.app)];
    const [found] = apps.flatMap((app) => {
      const card = cards.find(app, press.outTrackId);
      return card ? [{ app, card }] : [];
    });
    if (!found?.card.delivered) throw new Error(`no card "${press.outTrackId}" in a chat`);
    const { app, card } = found;
    const userId = world.user(press.from ?? card.userId).staffId;
    const data = body(press, { app, card, userId }, knobs);
    if (card.callbackType !== "STREAM") return unheard(app, data);
    const handle = this.#delivery.push(app, { type: "CALLBACK", topic: cardTopic, data }, undefined);
    this.#pressed.push({ handle, card, userId });
    if (this.#pressed.length > PRESSES_KEPT) this.#pressed = this.#pressed.slice(-PRESSES_KEPT / 2);
    return handle;
  }

  clear(): void {
    this.#pressed = [];
  }

  /** What comes too late has no effect. */
  #answered(ack: AckRecord): void {
    if (ack.topic !== cardTopic || ack.malformed !== undefined || ack.repeated) return;
    const pressed = this.#pressed.find(({ handle }) => handle.messageIds.includes(ack.messageId));
    if (!pressed) return;
    this.#pressed = this.#pressed.filter((other) => other !== pressed);
    const response = isObject(ack.data) ? ack.data["response"] : undefined;
    if (ack.late || !isObject(response)) return;
    const { cardUpdateOptions } = response;
    const options = isObject(cardUpdateOptions) ? cardUpdateOptions : {};
    const params = mapOf(response["cardData"]);
    const own = mapOf(response["userPrivateData"]);
    if (!params && !own) return;
    this.#context.cards.change(pressed.card, {
      params,
      byKey: options["updateCardDataByKey"] === true,
      privateParams: own && { [pressed.userId]: own },
      privateByKey: options["updatePrivateDataByKey"] === true,
    });
  }
}

function mapOf(data: unknown): Params | undefined {
  const map = isObject(data) ? data["cardParamMap"] : undefined;
  if (!isObject(map)) return undefined;
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, String(value)]));
}

function body(
  { actionId, params = {} }: CardPress,
  { app, card, userId }: { app: App; card: SimulatedCard; userId: string },
  knobs: SimulatorKnobs,
): Record<string, unknown> {
  const common = {
    type: "actionCallback",
    outTrackId: card.outTrackId,
    corpId: app.corpId,
    userId,
    userIdType: 1,
    // What it is for a direct card is UNKNOWN.
    spaceId: card.spaceType === "IM_GROUP" ? card.conversationId : (card.userId ?? card.conversationId),
    spaceType: knobs.cardActionSpaceType === "" ? card.spaceType : knobs.cardActionSpaceType,
    extension: "{}",
  };
  const content = { cardPrivateData: { actionIds: [actionId], params } };
  switch (knobs.cardActionShape) {
    case "content":
      return { ...common, content: JSON.stringify(content) };
    case "object":
      return { ...common, content };
    case "value":
      return { ...common, value: JSON.stringify(content), content: JSON.stringify(content) };
    case "topLevel":
      return { ...common, actionId, content: JSON.stringify({ cardPrivateData: { params } }) };
    case "actionData":
      return { ...common, actionData: content };
  }
}

/** The callback goes to an HTTP address, or nowhere. */
const unheard = (app: App, data: unknown): PushHandle => ({
  app: app.appKey,
  msgId: undefined,
  messageIds: [],
  body: data,
  delivered: false,
  reason: "not_subscribed",
  connectionId: undefined,
  copies: [],
  acked: () => Promise.reject(new Error("the card was not created with callbackType STREAM")),
});
