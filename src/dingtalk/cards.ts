import type { Account } from "../domain/account.ts";
import type { Outcome } from "../domain/outcome.ts";
import { type Clock, systemClock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Failure } from "./answers.ts";
import { AuthorisedApi } from "./authorised.ts";
import { judgeCard, judgeDelivery } from "./card-answers.ts";
import type { HttpCall } from "./http.ts";
import type { TokenSource } from "./token.ts";

type Params = Readonly<Record<string, string>>;
/** By user id. */
type PrivateParams = Readonly<Record<string, Params>>;

export interface NewCard {
  /** Chosen by the bridge; the card's id, and what makes `create` safe to repeat. */
  outTrackId: string;
  templateId: string;
  params: Params;
  privateParams?: PrivateParams | undefined;
  to: { staffId: string } | { openConversationId: string };
  /** What the chat list shows. */
  summary?: string | undefined;
  /**
   * Groups only. People are @-ed where a Markdown variable says `<a atId=STAFFID>name</a>` (dingtalk-protocol.md §4.2): that
   * is for the caller to write.
   */
  mentions?: { userIds?: readonly string[]; all?: boolean } | undefined;
}

/** DingTalk's limit for one message (dingtalk-protocol.md §5.5). */
const MAX_MENTIONS = 50;
/** Cards whose delivery failed lately. */
const UNDELIVERED_KEPT = 1_000;

/**
 * AI cards of one account (dingtalk-protocol.md §4). Nothing here throws for what DingTalk or the network does. All of it is
 * idempotent by `outTrackId` and `guid`, so nothing is uncertain: what may have taken effect is a `retry` of class peer-away.
 * `rejected`: `card_template_missing` (no such template, or not published), `card_unknown` (no such card),
 * `recipient_unknown`, `message_too_long`, `dingtalk_rejected`.
 */
export class CardApi {
  readonly #robotCode: string;
  readonly #api: AuthorisedApi;
  readonly #clock: Clock;
  readonly #undelivered = new Set<string>();

  constructor(options: {
    account: Account;
    /** `https://api.dingtalk.com`, another region, or a simulator. */
    apiBase: string;
    call: HttpCall;
    tokens: TokenSource;
    logger: Logger;
    metrics: Metrics;
    clock?: Clock;
  }) {
    this.#robotCode = options.account.robotCode;
    this.#api = new AuthorisedApi(options);
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Creates a card and puts it into a chat, its actions coming back by Stream. A card that is there already counts as
   * delivered: then the receipt has no `processQueryKey`. A delivery that fails within a 200 leaves a card that nobody sees;
   * the next try only delivers it. (That is forgotten at a restart, when such a card counts as delivered.)
   */
  async create(card: NewCard, signal?: AbortSignal): Promise<Outcome> {
    const space = spaceOf(card, this.#robotCode);
    if (space === undefined) {
      return { kind: "rejected", code: "recipient_unknown", detail: "the id cannot be part of an openSpaceId" };
    }
    const { outTrackId } = card;
    let judged = this.#undelivered.has(outTrackId) ? await this.#deliver(outTrackId, space, signal) : undefined;
    if (judged === undefined || (judged.kind === "rejected" && judged.code === "card_unknown")) {
      judged = await this.#createAndDeliver(card, space, signal);
    }
    if (judged.kind !== "done") return repeatable(judged);
    const { value } = judged;
    if (value.kind === "undelivered") {
      this.#remember(outTrackId);
      return value.failure;
    }
    this.#undelivered.delete(outTrackId);
    const key = value.carrierId === undefined ? {} : { processQueryKey: value.carrierId };
    return { kind: "delivered", receipt: { route: "open-api", ...key, at: this.#clock.now() } };
  }

  /** New values of some variables; the others stay (dingtalk-protocol.md §4.4). */
  async update(
    card: { outTrackId: string; params: Params; privateParams?: PrivateParams | undefined },
    signal?: AbortSignal,
  ): Promise<Outcome> {
    const { outTrackId, params, privateParams } = card;
    const judged = await this.#api.request({
      method: "PUT",
      path: "/v1.0/card/instances",
      json: {
        outTrackId,
        userIdType: 1,
        // DingTalk refuses an update without any data, not one without public data.
        ...(Object.keys(params).length === 0 && privateParams ? {} : { cardData: { cardParamMap: params } }),
        ...privateData(privateParams),
        // Without them all other variables are lost.
        cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
      },
      signal,
      judge: judgeCard,
    });
    return judged.kind === "done" ? { kind: "delivered" } : repeatable(judged);
  }

  /**
   * Replaces the text of a variable with the streaming switch (dingtalk-protocol.md §4.3). `content` is the whole text so far
   * and not empty; one `guid` belongs to one content, and stays when the update is repeated.
   */
  async stream(
    update: {
      outTrackId: string;
      guid: string;
      key: string;
      content: string;
      /** The card is finished. */
      isFinalize?: boolean | undefined;
      /** The card has failed. */
      isError?: boolean | undefined;
    },
    signal?: AbortSignal,
  ): Promise<Outcome> {
    const { outTrackId, guid, key, content, isFinalize = false, isError = false } = update;
    const judged = await this.#api.request({
      method: "PUT",
      path: "/v1.0/card/streaming",
      json: { outTrackId, guid, key, content, isFull: true, isFinalize, isError },
      signal,
      judge: judgeCard,
    });
    return judged.kind === "done" ? { kind: "delivered" } : repeatable(judged);
  }

  #createAndDeliver(card: NewCard, space: object, signal: AbortSignal | undefined) {
    const { outTrackId, templateId, params, privateParams } = card;
    return this.#api.request({
      method: "POST",
      path: "/v1.0/card/instances/createAndDeliver",
      json: {
        cardTemplateId: templateId,
        outTrackId,
        callbackType: "STREAM",
        userIdType: 1,
        cardData: { cardParamMap: params },
        ...privateData(privateParams),
        ...space,
      },
      signal,
      judge: judgeDelivery,
    });
  }

  #deliver(outTrackId: string, space: object, signal: AbortSignal | undefined) {
    return this.#api.request({
      method: "POST",
      path: "/v1.0/card/instances/deliver",
      json: { outTrackId, userIdType: 1, ...space },
      signal,
      judge: judgeDelivery,
    });
  }

  #remember(outTrackId: string): void {
    this.#undelivered.delete(outTrackId);
    this.#undelivered.add(outTrackId);
    const [oldest] = this.#undelivered;
    if (this.#undelivered.size > UNDELIVERED_KEPT && oldest !== undefined) this.#undelivered.delete(oldest);
  }
}

function repeatable(failure: Failure): Outcome {
  if (failure.kind !== "uncertain") return failure;
  const { code, detail } = failure;
  return { kind: "retry", code, class: "peer-away", ...(detail === undefined ? {} : { detail }) };
}

function privateData(privateParams: PrivateParams | undefined): object {
  if (privateParams === undefined) return {};
  const byUser = Object.entries(privateParams).map(([userId, own]) => [userId, { cardParamMap: own }] as const);
  return { privateData: Object.fromEntries(byUser) };
}

/** Where the card goes; undefined for an id that would name another space, or several. */
function spaceOf({ to, summary, mentions }: NewCard, robotCode: string): object | undefined {
  const id = "staffId" in to ? to.staffId : to.openConversationId;
  if (id === "" || id.includes(";")) return undefined;
  const spaceModel = {
    supportForward: true,
    ...(summary === undefined ? {} : { lastMessageI18n: { ZH_CN: summary, EN_US: summary } }),
  };
  // As DingTalk's own connector sends it: the chat list follows the card.
  const extension = { dynamicSummary: "true" };
  if ("staffId" in to) {
    return {
      openSpaceId: `dtv1.card//IM_ROBOT.${id}`,
      imRobotOpenSpaceModel: spaceModel,
      // Without spaceType some deliveries fail (dingtalk-protocol.md §4.2).
      imRobotOpenDeliverModel: { spaceType: "IM_ROBOT", robotCode, extension },
    };
  }
  const userIds = mentions?.userIds?.slice(0, MAX_MENTIONS) ?? [];
  const all = mentions?.all === true ? { atUserIds: { "@ALL": "@ALL" } } : {};
  return {
    openSpaceId: `dtv1.card//IM_GROUP.${id}`,
    imGroupOpenSpaceModel: spaceModel,
    imGroupOpenDeliverModel: { robotCode, ...all, extension },
    ...(userIds.length > 0 ? { cardAtUserIds: userIds } : {}),
  };
}
