import { BridgeError } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import { parseTarget } from "../domain/target.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Entry, QueueStore } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import { callApi } from "./api-call.ts";
import type { OutboundContent, StoredMessage } from "./outbound-content.ts";
import { conversationOf, isGroup } from "./outbound-roads.ts";

export interface RecallOptions {
  store: QueueStore;
  sender: (account: string) => AccountSender | undefined;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** DingTalk recalls nothing that is older (dingtalk-protocol.md §3.7). */
const WINDOW_MS = 24 * 60 * 60_000;
/** Parts remembered as recalled while others of their message were not. */
const REMEMBERED = 1_000;

/** Takes back what was sent through the Open API. */
export class Recall {
  readonly #options: RecallOptions;
  /** By entry id: two callers at once share one recall. */
  readonly #running = new Map<string, Promise<void>>();
  /** `processQueryKey`s: DingTalk may refuse to recall a message twice, and a try may end between two parts. */
  readonly #gone = new Set<string>();

  constructor(options: RecallOptions) {
    this.#options = options;
  }

  /**
   * Recalls every part of a delivered message, those apart that a try before has recalled; the entry is then cancelled, error
   * `recalled`. Throws BridgeError
   * - `already_sent`: a part cannot be recalled: it went by webhook, is older than 24 hours, or changed a card
   * - `not_cancellable`: DingTalk refuses
   * - a code of DingTalk's, retryable: it could not be asked just now. The message then counts as delivered still.
   */
  recall(entry: Entry): Promise<void> {
    const running = this.#running.get(entry.id) ?? this.#recall(entry).finally(() => this.#running.delete(entry.id));
    this.#running.set(entry.id, running);
    return running;
  }

  async #recall(entry: Entry): Promise<void> {
    const { store, clock, logger } = this.#options;
    const { account, id, seq } = entry;
    const sender = this.#options.sender(account);
    const target = parseTarget((entry.body as StoredMessage).to);
    if (!sender || !target) throw new BridgeError("not_cancellable", `account ${account} is not configured`);
    const keys = store.parts(seq).map((part) => this.#keyOf(part.receipt, part.body as OutboundContent));
    const inGroup = isGroup(target, conversationOf(store, account, target));
    const where = inGroup ? { openConversationId: target.id } : {};
    for (const processQueryKey of keys) {
      if (this.#gone.has(processQueryKey)) continue;
      const message = { processQueryKey, ...where };
      const caller = { account, api: "recall", lane: entry.lane } as const;
      const call = (ask: () => Promise<Outcome>): Promise<Outcome> =>
        callApi(sender, caller, this.#options.metrics, ask);
      const outcome = await call(() => sender.recall(message));
      if (outcome.kind !== "delivered") {
        // By a try whose answer was lost, or whose process died.
        const before = outcome.kind === "rejected" ? await call(() => sender.isRecalled(message)) : outcome;
        if (before.kind !== "delivered") throw refusal(before.kind === "rejected" ? outcome : before);
      }
      if (this.#gone.size >= REMEMBERED) this.#gone.clear();
      this.#gone.add(processQueryKey);
    }
    await store.recalled("outbox", id, clock.now());
    for (const key of keys) this.#gone.delete(key);
    logger.info({ account, entryId: id, parts: keys.length }, "message recalled");
  }

  #keyOf(receipt: Receipt | undefined, content: OutboundContent): string {
    const stays = (why: string): BridgeError => new BridgeError("already_sent", `the message was delivered; ${why}`);
    if (content.type === "card.update") throw stays("a changed card cannot be recalled, only changed again");
    if (!receipt) throw stays("not all of it is known to be sent");
    if (receipt.route === "webhook") throw stays("what went by webhook cannot be recalled");
    if (this.#options.clock.now() - receipt.at > WINDOW_MS) throw stays("DingTalk recalls for 24 hours only");
    if (receipt.processQueryKey === undefined) throw stays("DingTalk gave it no id to recall it by");
    return receipt.processQueryKey;
  }
}

function refusal(outcome: Exclude<Outcome, { kind: "delivered" }>): BridgeError {
  if (outcome.kind === "rejected") return new BridgeError("not_cancellable", `not recalled: ${outcome.detail}`);
  const { code = "internal" as const, detail = "" } = "code" in outcome ? outcome : {};
  return new BridgeError(code, `not recalled yet: ${detail}`, { retryable: true });
}
