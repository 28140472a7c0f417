import type { Account } from "../domain/account.ts";
import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { QuotaClass } from "../domain/quota.ts";
import type { Failure } from "../dingtalk/answers.ts";
import type { Mentions, SendContent, WebhookContent } from "../dingtalk/bodies.ts";
import { CardApi } from "../dingtalk/cards.ts";
import type { HttpCall } from "../dingtalk/http.ts";
import { MediaApi } from "../dingtalk/media-api.ts";
import { OpenApi } from "../dingtalk/open-api.ts";
import { ReactionApi } from "../dingtalk/reactions.ts";
import { TokenSource } from "../dingtalk/token.ts";
import { sendByWebhook } from "../dingtalk/webhook.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { Gate } from "../queue/gate.ts";
import { WindowLimiter } from "../queue/limiter.ts";
import { callApi } from "./api-call.ts";

/** DingTalk's endpoints that cost something, each with limits and failures of its own. */
export type Api = "webhook" | "oto" | "group" | "card" | "upload" | "recall" | "emotion";

export type Uploaded = { kind: "done"; mediaId: string } | Failure;

/** What sends for one account: DingTalk's roads and the limiter of each API. */
export interface AccountSender {
  webhook(options: { webhookUrl: string; content: WebhookContent; mentions?: Mentions }): Promise<Outcome>;
  toUser(options: { staffId: string; content: SendContent }): Promise<Outcome>;
  toGroup(options: { openConversationId: string; content: SendContent }): Promise<Outcome>;
  upload(file: Parameters<MediaApi["upload"]>[0], signal?: AbortSignal): Promise<Uploaded>;
  createCard(card: Parameters<CardApi["create"]>[0]): Promise<Outcome>;
  updateCard(card: Parameters<CardApi["update"]>[0]): Promise<Outcome>;
  streamCard(update: Parameters<CardApi["stream"]>[0]): Promise<Outcome>;
  recall(message: { processQueryKey: string; openConversationId?: string | undefined }): Promise<Outcome>;
  /** Whether that was done before: `delivered`. */
  isRecalled(message: { processQueryKey: string; openConversationId?: string | undefined }): Promise<Outcome>;
  /** Reactions under people's messages, limiter and gate included. */
  reactions: Pick<ReactionApi, "attach" | "recall">;
  limiter: Record<Api, WindowLimiter>;
  /** The door to each endpoint group: a failure of one says nothing about the others. */
  gates: Record<Api, Gate>;
  /** DingTalk's clock less ours, from the last frame; milliseconds. */
  clockOffset(): number;
}

/** With what its owner may do. */
export interface OwnedSender extends AccountSender {
  media: MediaApi;
  /** Why there is no access token, while it lasts. */
  tokenFailure(): ErrorCode | undefined;
  rekey(appSecret: string): void;
  resize(limits: PerSecond): void;
  close(): void;
}

export interface PerSecond {
  /** Requests per second and DingTalk API (dingtalk-protocol.md §5.2). */
  apiPerSecond: number;
  /** Requests per second, all calls that concern cards together (dingtalk-protocol.md §4.7). */
  cardPerSecond: number;
}

export interface AccountSenderOptions extends PerSecond {
  account: Account;
  apiBase: string;
  oapiBase: string;
  call: HttpCall;
  /** For uploads, which are streamed. */
  dispatcher: ConstructorParameters<typeof MediaApi>[0]["dispatcher"];
  userAgent: string;
  clockOffset: () => number;
  /** Told of the outcome of everything that DingTalk counts, in the turn of the answer. */
  observe: (name: QuotaClass, outcome: Outcome) => void;
  /** An endpoint group was found away (false) or is back (true). */
  onGate: (open: boolean) => void;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** Attempts in a row without an answer before DingTalk's endpoint counts as away, and the time between probes then. */
const FAILURES = 5;
const COOLDOWN = { baseMs: 1_000, capMs: 30_000 };

/** All that speaks to DingTalk for one account. Nothing of it is shared with another: token, limiters, offset. */
export function createAccountSender(options: AccountSenderOptions): OwnedSender {
  const { account, apiBase, oapiBase, call, dispatcher, userAgent, clock, metrics } = options;
  const logger = options.logger.child({ account: account.name });
  const tokens = new TokenSource({ account, apiBase, call, clock, logger });
  const shared = { account, apiBase, call, tokens, logger, metrics };
  const api = new OpenApi(shared);
  const media = new MediaApi({ ...shared, oapiBase, dispatcher, userAgent });
  const cards = new CardApi({ ...shared, clock });
  const counted =
    (name: QuotaClass) =>
    (outcome: Outcome): Outcome => {
      options.observe(name, outcome);
      return outcome;
    };
  const perSecond = perSecondOf(options);
  const limiter = forEach(perSecond, (cap) => new WindowLimiter({ cap, windowMs: 1_000 }));
  const gates = forEach(
    perSecond,
    (concurrency, name) =>
      new Gate({
        name: `${account.name} ${name}`,
        failures: FAILURES,
        cooldown: COOLDOWN,
        // More would wait for the limiter and keep workers from what waits for nothing.
        concurrency,
        logger,
        // No message waits for reactions.
        onChange: name === "emotion" ? () => undefined : options.onGate,
      }),
  );
  const reactions = new ReactionApi({
    ...shared,
    each: (request) =>
      callApi({ limiter, gates }, { account: account.name, api: "emotion" }, metrics, () =>
        request().then(counted("indicator")),
      ),
  });
  return {
    webhook: ({ webhookUrl, content, mentions }) =>
      sendByWebhook(call, { webhookUrl, content, mentions, clock, observer: { account: account.name, metrics } }).then(
        counted("webhook"),
      ),
    toUser: (message) => api.sendToUser(message).then(counted("oto")),
    toGroup: (message) => api.sendToGroup(message).then(counted("group")),
    upload: async (file, signal) => {
      const uploaded = await media.upload(file, signal);
      options.observe("media_upload", uploaded.kind === "done" ? { kind: "delivered" } : uploaded);
      return uploaded;
    },
    createCard: (card) => cards.create(card).then(counted("card_create")),
    updateCard: (card) => cards.update(card).then(counted("card_update")),
    streamCard: (update) =>
      cards.stream(update).then(counted(update.isFinalize || update.isError ? "card_finish" : "card_update")),
    recall: (message) => api.recall(message).then(counted("recall")),
    isRecalled: (message) => api.isRecalled(message).then(counted("recall")),
    reactions,
    media,
    tokenFailure: () => tokens.failure,
    limiter,
    gates,
    clockOffset: options.clockOffset,
    rekey: (appSecret) => {
      tokens.rekey(appSecret);
      for (const gate of Object.values(gates)) gate.probeNow();
    },
    resize: (limits) => {
      forEach(perSecondOf(limits), (cap, name) => {
        limiter[name].resize(cap);
        gates[name].resize(cap);
      });
    },
    close: () => {
      for (const one of [...Object.values(limiter), ...Object.values(gates)]) one.close();
    },
  };
}

function perSecondOf({ apiPerSecond, cardPerSecond }: PerSecond): Record<Api, number> {
  return {
    webhook: apiPerSecond,
    oto: apiPerSecond,
    group: apiPerSecond,
    card: cardPerSecond,
    upload: apiPerSecond,
    recall: apiPerSecond,
    emotion: apiPerSecond,
  };
}

function forEach<T>(perSecond: Record<Api, number>, make: (perSecond: number, api: Api) => T): Record<Api, T> {
  const { webhook, oto, group, card, upload, recall, emotion } = perSecond;
  return {
    webhook: make(webhook, "webhook"),
    oto: make(oto, "oto"),
    group: make(group, "group"),
    card: make(card, "card"),
    upload: make(upload, "upload"),
    recall: make(recall, "recall"),
    emotion: make(emotion, "emotion"),
  };
}
