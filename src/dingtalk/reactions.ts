import { setTimeout as wait } from "node:timers/promises";
import type { Account } from "../domain/account.ts";
import { coerceError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { judge } from "./answers.ts";
import { AuthorisedApi } from "./authorised.ts";
import type { HttpCall } from "./http.ts";
import type { TokenSource } from "./token.ts";

/** A reaction under somebody's message; the same to attach and to recall. */
export interface Reaction {
  /** The message's `msgId`. */
  openMsgId: string;
  openConversationId: string;
  /** What it says, such as `🤔思考中`. DingTalk does not take every text. */
  name: string;
}

/** Pauses before each try: DingTalk fails for a moment right after a message (dingtalk-protocol.md §3.10). */
const ATTACH_MS = [0, 400, 1_200] as const;
const RECALL_MS = [0, 1_500, 5_000] as const;
const TIMEOUT_MS = 5_000;
/** Failures that another try may mend; a refusal, a throttle or a missing permission stays. All but the third may have taken effect. */
const PASSING: ReadonlySet<string> = new Set([
  "dingtalk_unavailable",
  "dingtalk_timeout",
  "dingtalk_unreachable",
  "dingtalk_bad_answer",
]);

/**
 * Reactions of one account's robot under people's messages (`/v1.0/robot/emotion/reply` and `/recall`,
 * dingtalk-protocol.md §3.10). Decoration: nothing here throws, and nothing need wait for it.
 */
export class ReactionApi {
  readonly #account: Account;
  readonly #api: AuthorisedApi;
  readonly #logger: Logger;
  readonly #attachMs: readonly number[];
  readonly #recallMs: readonly number[];
  readonly #each: (request: () => Promise<Outcome>) => Promise<Outcome>;

  constructor(options: {
    account: Account;
    apiBase: string;
    call: HttpCall;
    tokens: TokenSource;
    logger: Logger;
    metrics: Metrics;
    /** Of one try; default 5 s. */
    timeoutMs?: number;
    /** Milliseconds before each try; as many tries as there are numbers. */
    attachMs?: readonly number[];
    recallMs?: readonly number[];
    /** Every single try goes through it: for limits, and for what counts calls. */
    each?: (request: () => Promise<Outcome>) => Promise<Outcome>;
  }) {
    const { call, timeoutMs = TIMEOUT_MS } = options;
    this.#account = options.account;
    this.#api = new AuthorisedApi({ ...options, call: (request) => call({ ...request, timeoutMs }) });
    this.#logger = options.logger;
    this.#attachMs = options.attachMs ?? ATTACH_MS;
    this.#recallMs = options.recallMs ?? RECALL_MS;
    this.#each = options.each ?? ((request) => request());
  }

  /**
   * `delivered` when it is there; else a failure, which is final: all tries are made here. It is the last that leaves it open
   * whether the reaction is there, if there is such a one. No further try is made once `wanted` says no; one under way is
   * waited for, because nobody could tell whether it took effect.
   */
  attach(reaction: Reaction, signal?: AbortSignal, wanted?: () => boolean): Promise<Outcome> {
    return this.#try("reply", reaction, { pauses: this.#attachMs, signal, wanted });
  }

  /** `delivered` when it is gone. */
  recall(reaction: Reaction, signal?: AbortSignal): Promise<Outcome> {
    return this.#try("recall", reaction, { pauses: this.#recallMs, signal });
  }

  async #try(
    action: "reply" | "recall",
    reaction: Reaction,
    {
      pauses,
      signal,
      wanted = () => true,
    }: { pauses: readonly number[]; signal: AbortSignal | undefined; wanted?: (() => boolean) | undefined },
  ): Promise<Outcome> {
    let outcome: Outcome = { kind: "rejected", code: "internal", detail: "no try" };
    let doubtful: Outcome | undefined;
    for (const [index, ms] of pauses.entries()) {
      if (ms > 0) await wait(ms, undefined, signal && { signal }).catch(() => undefined);
      if (signal?.aborted === true) {
        outcome = { kind: "retry", code: "interrupted", class: "peer-away", detail: "given up by the bridge" };
        break;
      }
      if (index > 0 && !wanted()) break;
      outcome = await this.#each(() => this.#once(action, reaction, signal));
      if (outcome.kind === "delivered") return outcome;
      if (!("code" in outcome) || !PASSING.has(outcome.code)) break;
      if (outcome.code !== "dingtalk_unreachable") doubtful = outcome;
    }
    this.#logger.info({ account: this.#account.name, action, outcome }, "reaction without effect");
    return doubtful ?? outcome;
  }

  async #once(
    action: "reply" | "recall",
    { openMsgId, openConversationId, name }: Reaction,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    try {
      const judged = await this.#api.request({
        method: "POST",
        path: `/v1.0/robot/emotion/${action}`,
        json: {
          robotCode: this.#account.robotCode,
          openMsgId,
          openConversationId,
          emotionType: 2,
          emotionName: name,
          // The two ids are those that all known clients send.
          textEmotion: { emotionId: "2659900", emotionName: name, text: name, backgroundId: "im_bg_1" },
        },
        signal,
        judge,
      });
      return judged.kind === "done" ? { kind: "delivered" } : judged;
    } catch (thrown) {
      return { kind: "rejected", code: "internal", detail: coerceError(thrown).message };
    }
  }
}
