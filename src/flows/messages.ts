import { randomUUID } from "node:crypto";
import { digestOf } from "../domain/canonical.ts";
import { BridgeError } from "../domain/errors.ts";
import { parseTarget } from "../domain/target.ts";
import { splitText, titleOf } from "../domain/text.ts";
import { ThrottledLog } from "../dingtalk/throttled-log.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Entry, type NewEntry, type QueueStore, conversationLane, userLane } from "../queue/store.ts";
import type { Mentions, OutboundContent, StoredMessage } from "./outbound.ts";
import { type MessageView, viewOf } from "./views.ts";

/** A message as the API takes it; its shape is checked by the route. */
export interface MessageRequest {
  account?: string;
  to: string;
  inReplyTo?: string;
  content: { type: "text"; text: string } | { type: "markdown"; text: string; title?: string };
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
  /** Messages that may wait, to one conversation and in all. */
  bounds: { openPerLane: number; openTotal: number };
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
   * `invalid_request`, `idempotency_key_reused`, `queue_full`, `disk_low` or `store_unavailable`; nothing is stored then.
   */
  async accept(
    request: MessageRequest,
    options: { scope: Scope; idempotencyKey?: string },
  ): Promise<{ id: string; duplicate: boolean; status: MessageView["status"] }> {
    const { store, clock, metrics, logger, bounds } = this.#options;
    const refusal = this.#options.refusal();
    if (refusal) throw refusal;
    const account = this.#account(request, options.scope);
    const id = `out_${randomUUID()}`;
    const now = clock.now();
    const lane = this.#lane(account, request.to);
    const entry: NewEntry = {
      queue: "outbox",
      id,
      key: options.idempotencyKey === undefined ? id : `${account}\n${options.idempotencyKey}`,
      account,
      lane,
      kind: request.content.type,
      body: {
        to: request.to,
        ...(request.inReplyTo !== undefined && { inReplyTo: request.inReplyTo }),
        ...(request.mentions && { mentions: request.mentions }),
        ...(request.ttlMs !== undefined && { expiresAt: now + request.ttlMs }),
      } satisfies StoredMessage,
      digest: digestOf({ ...request, account }),
      createdAt: now,
      parts: partsOf(request.content),
      atMost: { lane: bounds.openPerLane, queue: bounds.openTotal },
    };
    const appended = await store.append(entry).catch((thrown: unknown) => {
      if (thrown instanceof BridgeError && thrown.code === "queue_full")
        this.#throttled.warn("queue_full", { account, to: request.to, reason: thrown.message }, "message refused");
      throw thrown;
    });
    if (appended.duplicate && appended.digest !== entry.digest) {
      throw new BridgeError("idempotency_key_reused", "this Idempotency-Key was used for another message");
    }
    if (appended.duplicate) {
      const first = store.find("outbox", appended.id);
      return { id: appended.id, duplicate: true, status: first ? viewOf(first, []).status : "delivered" };
    }
    metrics.apiMessages.inc({ account, type: request.content.type });
    logger.info(
      { account, entryId: id, inReplyTo: request.inReplyTo, to: request.to, parts: entry.parts?.length },
      "message taken from the gateway",
    );
    this.#options.onAppended(appended.lane);
    return { id, duplicate: false, status: "queued" };
  }

  /** Undefined when there is none, or when it is not the caller's. */
  view(id: string, scope: Scope): MessageView | undefined {
    const entry = this.#own(id, scope);
    return entry && viewOf(entry, this.#options.store.parts(entry.seq));
  }

  /** Cancels what no attempt has begun on. Throws BridgeError `already_sent` or `not_cancellable`. */
  async cancel(id: string, scope: Scope): Promise<MessageView | undefined> {
    const { store, clock } = this.#options;
    const entry = this.#own(id, scope);
    if (!entry) return undefined;
    if (await store.cancel("outbox", id, clock.now())) {
      this.#options.onAppended(entry.lane);
      this.settled(id);
    } else {
      const now = this.view(id, scope);
      if (now?.status === "delivered") throw new BridgeError("already_sent", "the message was delivered");
      if (now && now.status !== "cancelled") throw new BridgeError("not_cancellable", `the message is ${now.status}`);
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

  #account(request: MessageRequest, scope: Scope): string {
    const known = this.#options.accounts();
    const named = request.account === "default" ? "main" : request.account;
    if (scope.account !== undefined) {
      if (named !== undefined && named !== scope.account) {
        throw new BridgeError("account_forbidden", `this token speaks for account ${scope.account} only`);
      }
      return scope.account;
    }
    if (named !== undefined) {
      if (known.includes(named)) return named;
      throw new BridgeError(
        "account_unknown",
        `account: there is no account ${JSON.stringify(named)}; known: ${known.join(", ")}`,
      );
    }
    const fromReply = request.inReplyTo?.slice(0, Math.max(0, request.inReplyTo.indexOf(":")));
    if (fromReply !== undefined && known.includes(fromReply)) return fromReply;
    if (known.length === 1 && known[0] !== undefined) return known[0];
    throw new BridgeError("account_required", `account: name one of ${known.join(", ")}`);
  }

  #lane(account: string, to: string): string {
    const target = parseTarget(to);
    if (!target) throw new BridgeError("invalid_request", "to: must be conversation:<id> or user:<staffId>");
    return target.kind === "conversation" ? conversationLane(account, target.id) : userLane(account, target.id);
  }
}

function partsOf(content: MessageRequest["content"]): OutboundContent[] {
  if (content.type === "text") {
    return splitText(content.text, { title: "", format: "text" }).map(({ text }) => ({ type: "text" as const, text }));
  }
  const title = content.title ?? titleOf(content.text);
  return splitText(content.text, { title, format: "markdown" }).map((part) => ({ type: "markdown" as const, ...part }));
}
