import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Ladder } from "../domain/quota.ts";
import type { Reaction } from "../dingtalk/reactions.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { Entry, QueueStore } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import type { StoredPush } from "./envelopes.ts";
import type { Scope } from "./messages.ts";
import type { StoredMessage } from "./outbound-content.ts";

/** The part of an account's `reply` settings that concerns the indicator. */
export interface IndicatorSettings {
  indicator: "auto" | "always" | "off";
  /** With `auto`: how long nothing has to be seen. Milliseconds. */
  indicatorAfterMs: number;
  indicatorText: string;
}

/** Calls `ring` once after so many milliseconds, unless the function that it returns is called before. */
export type Alarm = (ms: number, ring: () => void) => () => void;

export interface IndicatorOptions {
  store: Pick<QueueStore, "find" | "indicators" | "streams">;
  /** Undefined: no such account. */
  sender: (account: string) => Pick<AccountSender, "reactions" | "gates"> | undefined;
  settings: (account: string) => IndicatorSettings | undefined;
  ladder: (account: string) => Ladder;
  clock: Clock;
  logger: Logger;
  alarm?: Alarm | undefined;
}

/** A gateway that says nothing more for so long is taken for gone. */
const LIFE_MS = 10 * 60_000;
/** Pauses after which a recall is tried again, besides the tries of dingtalk/reactions.ts; then the next start does. */
const AGAIN_MS = [60_000, 5 * 60_000, 30 * 60_000, 2 * 3_600_000] as const;
/** For recalls at a stop; what is left waits for the next start. */
const STOP_MS = 3_000;
/** Refusals in a row after which the account's messages are left alone for a while. */
const REFUSALS = 3;
const REFUSED_MS = 10 * 60_000;
/** Replies of which it is remembered what became visible. */
const REMEMBERED = 10_000;
/** Failures of an attach that may have taken effect all the same. */
const MAYBE: ReadonlySet<string> = new Set([
  "dingtalk_timeout",
  "dingtalk_unavailable",
  "dingtalk_bad_answer",
  "interrupted",
]);

/** One message whose answer is being worked on. */
interface Mark {
  account: string;
  reaction: Reaction;
  /** `on` from the moment at which the reaction is to be attached. */
  state: "waiting" | "on" | "ended";
  /** DingTalk may show it. */
  attached: boolean;
  cancel: () => void;
}

/**
 * The thinking reaction under a person's message (design §6, dingtalk-protocol.md §3.10). Decoration: nothing waits for it, and no
 * failure of it shows anywhere but in the log. What was attached is in the store until it is recalled: when the gateway is
 * idle, when something of the reply is to be seen, when nothing is heard for ten minutes, at a stop and at the next start.
 */
export class Indicator implements Service {
  readonly name = "indicator";
  readonly #options: IndicatorOptions;
  readonly #alarm: Alarm;
  /** By envelope id. */
  readonly #marks = new Map<string, Mark>();
  /** By envelope id, oldest first. */
  readonly #replies = new Map<string, { visible: boolean; calls: number }>();
  /** What is done to one message is done in order. */
  readonly #running = new Map<string, Promise<void>>();
  /** Recalls that are tried again later: how to call them off, by message. */
  readonly #again = new Map<string, () => void>();
  readonly #refusals = new Map<string, { count: number; until: number }>();
  #end = new AbortController();
  #isStopped = true;

  constructor(options: IndicatorOptions) {
    this.#options = options;
    this.#alarm = options.alarm ?? ringAfter;
  }

  /** Recalls what an earlier life has left. */
  start(): Promise<void> {
    if (!this.#isStopped) return Promise.resolve();
    this.#isStopped = false;
    this.#end = new AbortController();
    const { store } = this.#options;
    for (const { inReplyTo, card } of store.streams.open()) {
      if (inReplyTo !== undefined && card === "shown") this.#remember(inReplyTo).visible = true;
    }
    for (const { account, msgId, conversationId, name } of store.indicators.all()) {
      const reaction = { openMsgId: msgId, openConversationId: conversationId, name };
      this.#run(account, reaction, (signal) => this.#recall(account, reaction, signal));
    }
    return Promise.resolve();
  }

  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    this.#isStopped = true;
    for (const id of this.#marks.keys()) this.#finish(id);
    for (const callOff of this.#again.values()) callOff();
    this.#again.clear();
    const late = AbortSignal.any([signal, AbortSignal.timeout(STOP_MS)]);
    await Promise.race([Promise.all(this.#running.values()), aborted(late)]);
    this.#end.abort();
  }

  health(): Health {
    return { status: "ok" };
  }

  /**
   * The gateway works on an envelope, or does so no longer; may be said again and again. Returns at once. Throws BridgeError
   * `not_found` for an envelope that is unknown, or another account's than the caller's.
   */
  activity(inReplyTo: string, state: "working" | "idle", scope: Scope): void {
    const entry = this.#options.store.find("inbox", inReplyTo);
    if (!entry || (scope.account !== undefined && scope.account !== entry.account)) {
      throw new BridgeError("not_found", `inReplyTo: there is no envelope ${JSON.stringify(inReplyTo)}`);
    }
    if (state === "idle") this.#finish(entry.id);
    else this.#begin(entry);
  }

  /** Something of the reply to this envelope is to be seen in the chat: a message, or a card. */
  visible(envelopeId: string): void {
    this.#remember(envelopeId).visible = true;
    this.#finish(envelopeId);
  }

  /** An outbox entry reached DingTalk. */
  delivered({ body }: Entry): void {
    const { inReplyTo } = body as Partial<StoredMessage>;
    if (inReplyTo !== undefined) this.visible(inReplyTo);
  }

  /** Calls of DingTalk that the indicator of this envelope takes, its recall included: 0 or 2, repeated tries apart. */
  calls(envelopeId: string): number {
    return this.#replies.get(envelopeId)?.calls ?? 0;
  }

  #begin(entry: Entry): void {
    const { id, account } = entry;
    const known = this.#marks.get(id);
    if (known?.state === "on") {
      known.cancel();
      known.cancel = this.#alarm(LIFE_MS, () => this.#finish(id));
    }
    if (known || this.#isStopped || this.#replies.get(id)?.visible) return;
    const settings = this.#options.settings(account);
    const reaction = settings && reactionTo(entry, settings.indicatorText);
    if (!reaction || settings.indicator === "off") return;
    const mark: Mark = { account, reaction, state: "waiting", attached: false, cancel: () => undefined };
    this.#marks.set(id, mark);
    mark.cancel = this.#alarm(settings.indicator === "always" ? 0 : settings.indicatorAfterMs, () =>
      this.#attach(id, mark),
    );
  }

  #attach(id: string, mark: Mark): void {
    const { ladder, clock, store } = this.#options;
    const { account, reaction } = mark;
    const sender = this.#options.sender(account);
    const isRefused = clock.monotonic() < (this.#refusals.get(account)?.until ?? 0);
    if (!sender?.gates.emotion.admits || isRefused || ladder(account) >= 3) {
      // The gateway's next sign of work asks again.
      this.#marks.delete(id);
      return;
    }
    mark.state = "on";
    mark.cancel = this.#alarm(LIFE_MS, () => this.#finish(id));
    this.#run(account, reaction, async (signal) => {
      if (isEnded(mark)) return;
      this.#again.get(keyOf(account, reaction))?.();
      this.#again.delete(keyOf(account, reaction));
      const { openMsgId: msgId, openConversationId: conversationId, name } = reaction;
      await store.indicators.add({ account, msgId, conversationId, name, at: clock.now() });
      mark.attached = true;
      this.#remember(id).calls = 2;
      const outcome = await sender.reactions.attach(reaction, signal, () => !isEnded(mark));
      this.#learn(account, outcome);
      if (mayBeThere(outcome)) return;
      mark.attached = false;
      mark.cancel();
      if (this.#marks.get(id) === mark) this.#marks.delete(id);
      await store.indicators.remove(account, msgId);
    });
  }

  /** There is nothing to show any more: what was attached is recalled, what was to be is not. */
  #finish(id: string): void {
    const mark = this.#marks.get(id);
    if (!mark) return;
    this.#marks.delete(id);
    mark.cancel();
    const wasOn = mark.state === "on";
    mark.state = "ended";
    if (!wasOn) return;
    const { account, reaction } = mark;
    this.#run(account, reaction, async (signal) => {
      if (mark.attached) await this.#recall(account, reaction, signal);
    });
  }

  async #recall(account: string, reaction: Reaction, signal: AbortSignal, round = 0): Promise<void> {
    const { store, logger } = this.#options;
    const sender = this.#options.sender(account);
    if (!sender || signal.aborted) return;
    const outcome = await sender.reactions.recall(reaction, signal);
    // A refusal is for good: the message is gone, say.
    if (outcome.kind === "delivered" || outcome.kind === "rejected") {
      await store.indicators.remove(account, reaction.openMsgId);
      return;
    }
    const pause = AGAIN_MS[round];
    if (this.#isStopped || signal.aborted) return;
    logger.warn({ account, msgId: reaction.openMsgId, outcome, againInMs: pause }, "a reaction could not be recalled");
    if (pause === undefined) return;
    const key = keyOf(account, reaction);
    const callOff = this.#alarm(pause, () => {
      this.#again.delete(key);
      this.#run(account, reaction, (signal) => this.#recall(account, reaction, signal, round + 1));
    });
    this.#again.set(key, callOff);
  }

  #run(account: string, reaction: Reaction, task: (signal: AbortSignal) => Promise<void>): void {
    const key = keyOf(account, reaction);
    const { signal } = this.#end;
    const running: Promise<void> = (this.#running.get(key) ?? Promise.resolve())
      .then(() => task(signal))
      .catch((thrown: unknown) => {
        const { logger } = this.#options;
        logger.warn({ err: coerceError(thrown), account, msgId: reaction.openMsgId }, "the indicator failed");
      })
      .finally(() => {
        if (this.#running.get(key) === running) this.#running.delete(key);
      });
    this.#running.set(key, running);
  }

  /** Whoever is refused again and again is not asked for each message. */
  #learn(account: string, outcome: Outcome): void {
    const missing = outcome.kind === "retry" && outcome.code === "dingtalk_permission_missing";
    if (outcome.kind === "delivered") this.#refusals.delete(account);
    if (outcome.kind !== "rejected" && !missing) return;
    const { clock, logger } = this.#options;
    const count = missing ? REFUSALS : (this.#refusals.get(account)?.count ?? 0) + 1;
    const until = count >= REFUSALS ? clock.monotonic() + REFUSED_MS : 0;
    this.#refusals.set(account, { count: until > 0 ? 0 : count, until });
    if (until > 0) logger.warn({ account, outcome }, "DingTalk refuses reactions; none is attached for ten minutes");
  }

  #remember(id: string): { visible: boolean; calls: number } {
    const known = this.#replies.get(id) ?? { visible: false, calls: 0 };
    this.#replies.set(id, known);
    if (this.#replies.size > REMEMBERED) {
      const [oldest] = this.#replies.keys();
      if (oldest !== undefined) this.#replies.delete(oldest);
    }
    return known;
  }
}

const keyOf = (account: string, { openMsgId }: Reaction): string => `${account}\n${openMsgId}`;

/** Asked anew each time, because others end it meanwhile. */
const isEnded = ({ state }: Mark): boolean => state === "ended";

function mayBeThere(outcome: Outcome): boolean {
  if (outcome.kind === "retry") return MAYBE.has(outcome.code);
  return outcome.kind === "delivered" || outcome.kind === "uncertain";
}

/** Only what people said takes reactions; a card action, say, does not. */
function reactionTo({ kind, body }: Entry, name: string): Reaction | undefined {
  if (kind !== "message") return undefined;
  const { msgId, conversationId } = (body as StoredPush).data;
  if (typeof msgId !== "string" || typeof conversationId !== "string") return undefined;
  return { openMsgId: msgId, openConversationId: conversationId, name };
}

const ringAfter: Alarm = (ms, ring) => {
  const timer = setTimeout(ring, ms);
  return () => clearTimeout(timer);
};

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
