import type { Account } from "../domain/account.ts";
import type { Outcome } from "../domain/outcome.ts";
import { type Clock, systemClock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { judgeRecall, judgeRecalled, judgeSend } from "./answers.ts";
import { AuthorisedApi } from "./authorised.ts";
import { openApiMessage, type SendContent } from "./bodies.ts";
import type { HttpCall } from "./http.ts";
import type { TokenSource } from "./token.ts";

/**
 * The robot's messages through the Open API of one account. Nothing here throws for what DingTalk or the network does. Sends
 * are not idempotent (DingTalk offers no key for them): `uncertain` may mean a duplicate on the next try. A recall is, so it
 * is always retried.
 */
export class OpenApi {
  readonly #robotCode: string;
  readonly #api: AuthorisedApi;
  readonly #clock: Clock;

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

  /** `POST /v1.0/robot/oToMessages/batchSend` to one person (dingtalk-protocol.md §3.4). */
  sendToUser(message: { staffId: string; content: SendContent; signal?: AbortSignal | undefined }): Promise<Outcome> {
    return this.#send("oToMessages/batchSend", { userIds: [message.staffId] }, message);
  }

  /** `POST /v1.0/robot/groupMessages/send` (dingtalk-protocol.md §3.5). Nobody can be @-ed this way. */
  sendToGroup(message: {
    openConversationId: string;
    content: SendContent;
    signal?: AbortSignal | undefined;
  }): Promise<Outcome> {
    return this.#send("groupMessages/send", { openConversationId: message.openConversationId }, message);
  }

  /**
   * Recalls one message within 24 hours (dingtalk-protocol.md §3.7): of the group when `openConversationId` is given, else of
   * a 1:1 conversation. `delivered` = recalled; `rejected: not_cancellable` = too late, or not a message of this robot.
   */
  async recall(message: {
    processQueryKey: string;
    openConversationId?: string | undefined;
    signal?: AbortSignal | undefined;
  }): Promise<Outcome> {
    const { processQueryKey, openConversationId, signal } = message;
    const inGroup = openConversationId !== undefined;
    const judged = await this.#api.request({
      method: "POST",
      // The lower-case "oto" is DingTalk's.
      path: `/v1.0/robot/${inGroup ? "groupMessages/recall" : "otoMessages/batchRecall"}`,
      json: {
        robotCode: this.#robotCode,
        ...(inGroup ? { openConversationId } : {}),
        processQueryKeys: [processQueryKey],
      },
      signal,
      judge: (answer, secrets) => judgeRecall(answer, secrets, processQueryKey),
    });
    if (judged.kind === "done") return { kind: "delivered" };
    return judged.kind === "uncertain" ? { ...judged, kind: "retry", class: "peer-away" } : judged;
  }

  /**
   * Asks whether a message was recalled (dingtalk-protocol.md §3.7); names it as `recall` does. `delivered` = it was; `rejected:
   * not_cancellable` = it is still there.
   */
  async isRecalled(message: { processQueryKey: string; openConversationId?: string | undefined }): Promise<Outcome> {
    const { processQueryKey, openConversationId } = message;
    const robotCode = this.#robotCode;
    const judged = await this.#api.request({
      ...(openConversationId === undefined
        ? { method: "GET", path: "/v1.0/robot/oToMessages/readStatus", query: { robotCode, processQueryKey } }
        : {
            method: "POST",
            path: "/v1.0/robot/groupMessages/query",
            json: { robotCode, openConversationId, processQueryKey, maxResults: 1 },
          }),
      judge: judgeRecalled,
    });
    if (judged.kind === "done") return { kind: "delivered" };
    return judged.kind === "uncertain" ? { ...judged, kind: "retry", class: "peer-away" } : judged;
  }

  async #send(
    path: string,
    to: Record<string, unknown>,
    { content, signal }: { content: SendContent; signal?: AbortSignal | undefined },
  ): Promise<Outcome> {
    const judged = await this.#api.request({
      method: "POST",
      path: `/v1.0/robot/${path}`,
      json: { robotCode: this.#robotCode, ...to, ...openApiMessage(content) },
      signal,
      judge: judgeSend,
    });
    if (judged.kind !== "done") return judged;
    const receipt = { route: "open-api", processQueryKey: judged.value, at: this.#clock.now() } as const;
    return { kind: "delivered", receipt };
  }
}
