import { randomUUID } from "node:crypto";
import { digestOf } from "../domain/canonical.ts";
import { BridgeError } from "../domain/errors.ts";
import { parseTarget } from "../domain/target.ts";
import { ThrottledLog } from "../dingtalk/throttled-log.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Entry, type NewEntry, type QueueStore, conversationLane, splitLane, userLane } from "../queue/store.ts";
import { chooseAccount } from "./account-choice.ts";
import { type ContentCheck, checkedContent, filesOf } from "./outbound-check.ts";
import {
  type Mentions,
  type MessageContent,
  type StoredMessage,
  entryOfCard,
  kindOf,
  partsOf,
} from "./outbound-content.ts";
import type { Recall } from "./recall.ts";
import { CARD_FINISH } from "./stream-entries.ts";
import { type MessageView, outTrackIdOf, viewOf } from "./views.ts";

/** A message as the API takes it; its shape is checked by the route. */
export interface MessageRequest {
  account?: string;
  to: string;
  inReplyTo?: string;
  content: MessageContent;
  mentions?: Mentions;
  ttlMs?: number;
}

/** Who calls: a derived token speaks for its account only, BRIDGE_TOKEN for all (`account` undefined). */
export interface Scope {
  account: string | undefined;
}

export interface MessagesOptions {
  store: QueueStore;
  accounts: () => string[];
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  onAppended: (lane: string) => void;
  /** Why nothing new can be taken just now. */
  refusal: () => BridgeError | undefined;
  /** Messages that may wait, to one conversation and in all; read for each message. */
  bounds: { openPerLane: number; openTotal: number };
  recall: Pick<Recall, "recall">;
  /** How the gateway reaches the bridge: an address below it is a file of the bridge's own. */
  publicUrl: () => string;
}

/** A message that was taken; `duplicate`: by an earlier call with its key. */
interface Accepted {
  id: string;
  duplicate: boolean;
  status: MessageView["status"];
  outTrackId?: string;
}

/** Refusals for want of room are told once in this time. */
const REFUSAL_LOG_MS = 60_000;

/** The gateway's messages: taken into the outbox, looked at, waited for, cancelled. */
export class Messages {
  readonly #options: MessagesOptions;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #throttled: ThrottledLog;

  constructor(options: MessagesOptions) {
    this.#options = options;
    this.#throttled = new ThrottledLog(options.logger, options.clock, REFUSAL_LOG_MS);
  }

  /**
   * Commits a message. Throws BridgeError `account_required`, `account_unknown`, `account_forbidden`,
   * `invalid_request`, `media_unknown`, `media_too_large`, `media_unsupported`, `media_url_refused`, `card_unknown`,
   * `idempotency_key_reused`, `queue_full`, `disk_low` or `store_unavailable`; nothing is stored then.
   */
  async accept(request: MessageRequest, options: { scope: Scope; idempotencyKey?: string }): Promise<Accepted> {
    const { store, clock, metrics, logger, bounds } = this.#options;
    const refusal = this.#options.refusal();
    if (refusal) throw refusal;
    const account = chooseAccount(request, options.scope, this.#options.accounts());
    const id = `out_${randomUUID()}`;
    const now = clock.now();
    const lane = this.#lane(account, request.to);
    const key = options.idempotencyKey === undefined ? id : `${account}\n${options.idempotencyKey}`;
    const digest = digestOf({ ...request, account });
    // Before the content is looked at: what a message names, a file or a card, may have gone since it was taken.
    const known = options.idempotencyKey === undefined ? undefined : store.repeated("outbox", key);
    if (known) return this.#again(known, digest);
    const check = this.#check(account);
    const content = checkedContent(request.content, check);
    if (content.type === "card" && content.outTrackId !== undefined)
      this.#requireCard(content.outTrackId, account, lane);
    const parts = partsOf(content, id);
    const entry: NewEntry = {
      queue: "outbox",
      id,
      key,
      account,
      lane,
      kind: kindOf(content),
      inReplyTo: request.inReplyTo,
      body: {
        to: request.to,
        ...(request.inReplyTo !== undefined && { inReplyTo: request.inReplyTo }),
        ...(request.mentions && { mentions: request.mentions }),
        ...(request.ttlMs !== undefined && { expiresAt: now + request.ttlMs }),
      } satisfies StoredMessage,
      digest,
      createdAt: now,
      parts,
      media: filesOf(content, check),
      atMost: { lane: bounds.openPerLane, queue: bounds.openTotal },
    };
    const appended = await store.append(entry).catch((thrown: unknown) => {
      if (thrown instanceof BridgeError && thrown.code === "queue_full")
        this.#throttled.warn("queue_full", { account, to: request.to, reason: thrown.message }, "message refused");
      throw thrown;
    });
    // Two calls at once: the other one was first.
    const first = appended.duplicate ? store.find("outbox", appended.id) : undefined;
    if (first) return this.#again(first, digest);
    if (appended.duplicate) return { id: appended.id, duplicate: true, status: "delivered" };
    metrics.apiMessages.inc({ account, type: content.type });
    logger.info(
      { account, entryId: id, inReplyTo: request.inReplyTo, to: request.to, parts: parts.length },
      "message taken from the gateway",
    );
    this.#options.onAppended(appended.lane);
    return { id, duplicate: false, status: "queued", ...outTrackIdOf(parts.map((body) => ({ body }))) };
  }

  #again(first: Entry, digest: string): Accepted & { duplicate: true } {
    if (first.digest !== digest) {
      throw new BridgeError("idempotency_key_reused", "this Idempotency-Key was used for another message");
    }
    const { status, outTrackId } = viewOf(first, this.#options.store.parts(first.seq));
    return { id: first.id, duplicate: true, status, ...(outTrackId !== undefined && { outTrackId }) };
  }

  #check(account: string): ContentCheck {
    const { store, publicUrl } = this.#options;
    const media: ContentCheck["media"] = (id) => {
      const file = store.media.find(id);
      return file?.account === account ? file : undefined;
    };
    return { media, publicUrl: publicUrl() };
  }

  /** An update goes behind the card it changes, in the same lane. */
  #requireCard(outTrackId: string, account: string, lane: string): void {
    const { store } = this.#options;
    const id = entryOfCard(outTrackId);
    const made = id === undefined ? undefined : store.find("outbox", id);
    const name = `content.outTrackId: ${JSON.stringify(outTrackId)}`;
    if (made?.kind !== "card" || made.account !== account) {
      throw new BridgeError("card_unknown", `${name} is no card that this account sent in the last days`);
    }
    if (made.state === "dead" || made.state === "cancelled") {
      throw new BridgeError("card_unknown", `${name} is not shown: its message is ${made.state}`);
    }
    if (this.#settledLane(made.lane) !== this.#settledLane(lane)) {
      throw new BridgeError("card_unknown", `${name} is in another conversation than "to" names`);
    }
  }

  /** A person's lane is that of the direct conversation once that is known. */
  #settledLane(lane: string): string {
    const { account, staffId } = splitLane(lane);
    const direct = staffId === undefined ? undefined : this.#options.store.directConversation(account, staffId);
    return direct ? conversationLane(account, direct.id) : lane;
  }

  /** Undefined when there is none, or when it is not the caller's. */
  view(id: string, scope: Scope): MessageView | undefined {
    const entry = this.#own(id, scope);
    return entry && viewOf(entry, this.#options.store.parts(entry.seq));
  }

  /**
   * Cancels what no attempt has begun on, and recalls what was sent; either way it is cancelled then. Throws BridgeError
   * `already_sent`, `not_cancellable`, or what kept it from being recalled now (flows/recall.ts).
   */
  async cancel(id: string, scope: Scope): Promise<MessageView | undefined> {
    const { store, clock } = this.#options;
    const entry = this.#own(id, scope);
    if (!entry) return undefined;
    if (entry.kind === CARD_FINISH) throw new BridgeError("not_cancellable", "a card must come to its end");
    if (await store.cancel("outbox", id, clock.now())) {
      this.#options.onAppended(entry.lane);
      this.settled(id);
    } else {
      const now = this.view(id, scope);
      if (now?.status === "delivered") await this.#options.recall.recall(entry);
      else if (now && now.status !== "cancelled")
        throw new BridgeError("not_cancellable", `the message is ${now.status}`);
    }
    return this.view(id, scope);
  }

  /** Waits until the message is settled, `ms` have passed, or `signal` fires; then its state, whatever it is. */
  async wait(id: string, scope: Scope, ms: number, signal: AbortSignal): Promise<MessageView | undefined> {
    const open = (): boolean => this.#own(id, scope)?.state === "open";
    if (open() && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const set = this.#waiting.get(id) ?? new Set();
        this.#waiting.set(id, set);
        const done = (): void => {
          clearTimeout(timer);
          signal.removeEventListener("abort", done);
          set.delete(done);
          if (set.size === 0) this.#waiting.delete(id);
          resolve();
        };
        const timer = setTimeout(done, ms);
        signal.addEventListener("abort", done);
        set.add(done);
      });
    }
    return this.view(id, scope);
  }

  /** The outbox settled this entry: whoever waits for it is told. */
  settled(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  /** The daemon stops: nobody waits any longer. */
  releaseWaiters(): void {
    for (const id of this.#waiting.keys()) this.settled(id);
  }

  #own(id: string, scope: Scope): Entry | undefined {
    const entry = this.#options.store.find("outbox", id);
    return entry && (scope.account === undefined || entry.account === scope.account) ? entry : undefined;
  }

  #lane(account: string, to: string): string {
    const target = parseTarget(to);
    if (!target) throw new BridgeError("invalid_request", "to: must be conversation:<id> or user:<staffId>");
    return target.kind === "conversation" ? conversationLane(account, target.id) : userLane(account, target.id);
  }
}
