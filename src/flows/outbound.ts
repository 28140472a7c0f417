import { setTimeout } from "node:timers/promises";
import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import type { Budget } from "../domain/quota.ts";
import { type Target, parseTarget } from "../domain/target.ts";
import type { TextPart } from "../domain/text.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Gate } from "../queue/gate.ts";
import type { Admission } from "../queue/lane-runner.ts";
import type { WindowLimiter } from "../queue/limiter.ts";
import { type Conversation, type Entry, type QueueStore, splitLane, userLane } from "../queue/store.ts";
import type { Pacing } from "./pacing.ts";
import type { QuotaGovernor } from "./quota.ts";

export interface Mentions {
  userIds?: string[];
  all?: boolean;
}

/** One part as it is stored and sent. */
export type OutboundContent = { type: "text"; text: string } | ({ type: "markdown" } & TextPart);

/** What an outbox entry holds. */
export interface StoredMessage {
  to: string;
  inReplyTo?: string;
  mentions?: Mentions;
  /** Epoch milliseconds after which the message is worthless to its sender. */
  expiresAt?: number;
}

/** DingTalk's endpoints that send, each with limits and failures of its own. */
export type Api = "webhook" | "oto" | "group";

/** What sends for one account: DingTalk's two roads and the limiter of each API. */
export interface AccountSender {
  webhook(options: { webhookUrl: string; content: OutboundContent; mentions?: Mentions }): Promise<Outcome>;
  toUser(options: { staffId: string; content: OutboundContent }): Promise<Outcome>;
  toGroup(options: { openConversationId: string; content: OutboundContent }): Promise<Outcome>;
  limiter: Record<Api, WindowLimiter>;
  /** The door to each endpoint group: a failure of one says nothing about the others. */
  gates: Record<Api, Gate>;
  /** DingTalk's clock less ours, from the last frame; milliseconds. */
  clockOffset(): number;
}

export interface OutboundOptions {
  store: QueueStore;
  sender: (account: string) => AccountSender | undefined;
  /** What becomes of a send that was cut off by a crash: sent again, or left for a person to look at. */
  onUncertain: "retry" | "hold";
  /** A webhook is not used in the last so many milliseconds of its life. */
  webhookMarginMs: number;
  /** Says which of the roads burdens the month's budgets least. */
  quota: Pick<QuotaGovernor, "order">;
  pacing: Pacing;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

const STORE_PAUSE_MS = 1_000;
const UNKNOWN_ACCOUNT_RETRY_MS = 60_000;
const MINUTE_MS = 60_000;
/** Until it is looked again whether a road is passable. */
const NO_ROAD_MS = 1_000;

/** Remembered; each is a road that would be tried in vain. */
const GONE_WEBHOOKS = 10_000;
const OWN_LIMIT = "the conversation's own limit";

type Road = { api: "webhook"; url: string } | { api: "oto"; staffId: string } | { api: "group"; id: string };

/** Outbox → DingTalk. The road is chosen per part, at the time of the send. */
export class OutboundFlow {
  readonly #options: OutboundOptions;
  /** Webhooks that DingTalk does not know any more, before their time. */
  readonly #goneWebhooks = new Set<string>();

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  /** The door that the first entry of a lane has to pass: its conversation's pace, then the peer it would be sent to. */
  admission(lane: string): Admission | undefined {
    const { account, target } = targetOf(lane);
    const sender = this.#options.sender(account);
    if (!sender) return undefined;
    const wait = this.#pace(account, target).wait();
    if (wait > 0) return this.#options.pacing.door(wait);
    const gates = this.#roads(sender, target, this.#conversation(account, target)).map(({ api }) => sender.gates[api]);
    return gates.find(({ isOpen }) => isOpen) ?? gates[0];
  }

  /** Before the first send: what was sent in the last minute, before the start, counts too. */
  seedPacing(): void {
    const { store, clock } = this.#options;
    const now = clock.now();
    for (const { lane, at } of store.recentSends({ from: now - MINUTE_MS, now })) {
      const { account, target } = targetOf(lane);
      this.#pace(account, target).answered(Math.min(MINUTE_MS, Math.max(0, now - at)));
    }
  }

  /** The pace of the conversation that a target is, the same before and after a person's conversation is known. */
  #pace(account: string, target: Target) {
    const { pacing } = this.#options;
    const conversation = this.#conversation(account, target);
    const staffId = target.kind === "user" ? target.id : conversation?.staffId;
    const key = staffId === undefined ? `${account}\n${target.id}` : userLane(account, staffId);
    return {
      wait: () => pacing.wait(key, isGroup(target, conversation)),
      answered: (agoMs?: number) => pacing.answered(key, agoMs),
      throttled: () => pacing.throttled(key),
      taken: () => pacing.taken(key),
    };
  }

  /** Sends what of the entry is not delivered yet, in order; each part is settled by itself. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const { store, clock } = this.#options;
    const sender = this.#options.sender(entry.account);
    const message = entry.body as StoredMessage;
    const target = parseTarget(message.to);
    if (!sender)
      return later("account_unknown", `account ${entry.account} is not configured`, UNKNOWN_ACCOUNT_RETRY_MS);
    if (!target) return { kind: "rejected", code: "no_route", detail: `not a target: ${message.to}` };
    if (this.#options.onUncertain === "hold" && entry.crashes > 0 && entry.uncertain) {
      return { kind: "uncertain", code: "interrupted", detail: "the bridge ended while it was being sent" };
    }
    const parts = store.parts(entry.seq);
    const pace = this.#pace(entry.account, target);
    let last: Receipt | undefined;
    for (const part of parts) {
      last = part.receipt;
      if (part.receipt) continue;
      if (signal.aborted) return later("interrupted", "stopped before this part was sent", 0);
      if (message.expiresAt !== undefined && clock.now() > message.expiresAt) {
        return { kind: "rejected", code: "too_old", detail: "its ttlMs ended before it could be sent" };
      }
      const content = part.body as OutboundContent;
      const mentions = part.n === 0 ? message.mentions : undefined;
      const outcome = await this.#send(entry, sender, target, content, mentions);
      if (outcome.kind === "retry" && outcome.code === "recipient_throttled") {
        return { ...outcome, afterMs: pace.throttled() };
      }
      if (outcome.kind !== "delivered") return outcome;
      pace.taken();
      const receipt = outcome.receipt ?? { route: "open-api" as const, at: clock.now() };
      last = receipt;
      await this.#keep(() => store.deliverPart(entry.seq, part.n, receipt), signal);
      // Waiting here would keep a worker from other conversations.
      const wait = pace.wait();
      if (wait > 0 && part.n < parts.length - 1) return later("pacing", OWN_LIMIT, wait);
    }
    return last ? { kind: "delivered", receipt: last } : { kind: "delivered" };
  }

  /** What was sent must not be sent again because the disk is full: tries until it is stored, or the daemon gives up. */
  async #keep(write: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await write();
      } catch {
        await setTimeout(STORE_PAUSE_MS, undefined, { signal });
      }
    }
  }

  async #send(
    { account, lane }: Entry,
    sender: AccountSender,
    target: Target,
    content: OutboundContent,
    mentions: Mentions | undefined,
  ): Promise<Outcome> {
    const conversation = this.#conversation(account, target);
    const roads = this.#roads(sender, target, conversation);
    const mention = isGroup(target, conversation) && (mentions?.all === true || (mentions?.userIds?.length ?? 0) > 0);
    const order = this.#options.quota.order(account, { roads: roads.map(budgetOf), mention });
    const failures: Outcome[] = [];
    const byBudget = order.flatMap((budget) => roads.filter((one) => budgetOf(one) === budget));
    const passable = byBudget.filter(({ api }) => sender.gates[api].admits);
    if (passable.length === 0 && byBudget.length > 0) return later("pacing", "every road is closed", NO_ROAD_MS);
    const pace = this.#pace(account, target);
    for (const road of passable) {
      const wait = failures.length > 0 ? pace.wait() : 0;
      if (wait > 0) return later("pacing", OWN_LIMIT, wait);
      const outcome = await this.#take(sender, road, content, mentions, { account, lane, onAnswer: pace.answered });
      const isAway = outcome.kind === "retry" && sender.gates[road.api].shutSince !== undefined;
      if (!isAway && !goesOn(road, outcome)) return outcome;
      failures.push(outcome);
    }
    // The road that is left is one that pauses or is away now: that is no reason to give the message up.
    if (passable.length > 0 && passable.length < byBudget.length) {
      return { kind: "retry", code: "dingtalk_unavailable", class: "peer-away", detail: "the other road pauses" };
    }
    return failureOf(failures, order.length < roads.length, target);
  }

  #conversation(account: string, target: Target): Conversation | undefined {
    const { store } = this.#options;
    return target.kind === "user"
      ? store.directConversation(account, target.id)
      : store.conversation(account, target.id);
  }

  /** All there are, one for each budget at most. Only the webhook can @ somebody in a group. */
  #roads(sender: AccountSender, target: Target, conversation: Conversation | undefined): Road[] {
    const roads: Road[] = [];
    const webhook = conversation?.webhook;
    const theirNow = this.#options.clock.now() + sender.clockOffset();
    const isFresh = webhook && webhook.expiresAt - this.#options.webhookMarginMs > theirNow;
    if (isFresh && !this.#goneWebhooks.has(webhook.url)) roads.push({ api: "webhook", url: webhook.url });
    if (target.kind === "user") roads.push({ api: "oto", staffId: target.id });
    else if (conversation?.kind !== "direct") roads.push({ api: "group", id: target.id });
    else if (conversation.staffId !== undefined) roads.push({ api: "oto", staffId: conversation.staffId });
    return roads;
  }

  #take(
    sender: AccountSender,
    road: Road,
    content: OutboundContent,
    mentions: Mentions | undefined,
    { account, lane, onAnswer }: { account: string; lane: string; onAnswer: () => void },
  ): Promise<Outcome> {
    const waited = this.#options.metrics.limiterWaitSeconds.startTimer({ account });
    const gate = sender.gates[road.api];
    return sender.limiter[road.api].run(() => {
      waited();
      // Asked after the wait: the gate may have been shut meanwhile.
      return gate.observe(async () => {
        const outcome = await perform(sender, road, content, mentions).catch((error: unknown) => {
          onAnswer();
          throw error;
        });
        // In the turn of the answer: a moment later the next send might already be under way.
        pauseAsTold(sender, road.api, outcome);
        if (!isNoSend(outcome)) onAnswer();
        if (road.api === "webhook") this.#noteWebhook(road.url, outcome);
        return outcome;
      }, lane);
    });
  }

  #noteWebhook(url: string, outcome: Outcome): void {
    if (outcome.kind !== "rejected" || outcome.code !== "webhook_expired") return;
    if (this.#goneWebhooks.size >= GONE_WEBHOOKS) this.#goneWebhooks.clear();
    this.#goneWebhooks.add(url);
  }
}

function perform(
  sender: AccountSender,
  road: Road,
  content: OutboundContent,
  mentions: Mentions | undefined,
): Promise<Outcome> {
  switch (road.api) {
    case "webhook":
      return sender.webhook({ webhookUrl: road.url, content, ...(mentions && { mentions }) });
    case "oto":
      return sender.toUser({ staffId: road.staffId, content });
    case "group":
      return sender.toGroup({ openConversationId: road.id, content });
  }
}

/** A throttle concerns one API, a blocked address all of the account's. */
function pauseAsTold(sender: AccountSender, api: Api, outcome: Outcome): void {
  if (outcome.kind !== "retry" || outcome.afterMs === undefined) return;
  if (outcome.code === "dingtalk_throttled") sender.gates[api].pause(outcome.afterMs);
  if (outcome.code === "dingtalk_ip_blocked")
    for (const gate of Object.values(sender.gates)) gate.pause(outcome.afterMs);
}

function targetOf(lane: string): { account: string; target: Target } {
  const { account, conversationId, staffId } = splitLane(lane);
  const isUser = staffId !== undefined;
  return { account, target: isUser ? { kind: "user", id: staffId } : { kind: "conversation", id: conversationId } };
}

/** Refused before it came near the conversation. */
function isNoSend(outcome: Outcome): boolean {
  return "code" in outcome && (outcome.code === "webhook_expired" || outcome.code === "dingtalk_quota_exhausted");
}

/** An unknown conversation is taken for a group. */
function isGroup(target: Target, conversation: Conversation | undefined): boolean {
  return target.kind === "conversation" && conversation?.kind !== "direct";
}

const budgetOf = ({ api }: Road): Budget => (api === "webhook" ? "units" : "calls");

/**
 * Whether the next road may be tried: this one surely delivered nothing, and the reason is its own. The Open API goes before a
 * webhook for the sake of the budget only, so what it cannot do (no permission, a group of another organisation) is no end.
 */
function goesOn(road: Road, outcome: Outcome): boolean {
  if (outcome.kind !== "rejected" && outcome.kind !== "retry") return false;
  if (outcome.code === "webhook_expired" || outcome.code === "dingtalk_quota_exhausted") return true;
  const own: ErrorCode[] = ["dingtalk_permission_missing", "recipient_unknown", "dingtalk_rejected"];
  return road.api !== "webhook" && own.includes(outcome.code);
}

/** What to say when every road was tried or is closed (`someClosed`: DingTalk refuses it for want of quota). */
function failureOf(failures: readonly Outcome[], someClosed: boolean, target: Target): Outcome {
  const codes = failures.map((failure) => ("code" in failure ? failure.code : undefined));
  const waits = failures.find(({ kind }, index) => kind === "retry" && codes[index] !== "dingtalk_quota_exhausted");
  if (waits) return waits;
  if (someClosed || codes.includes("dingtalk_quota_exhausted")) {
    const detail =
      "DingTalk refuses until the month ends (00:00 Asia/Shanghai), or until more is bought; replay it then";
    return { kind: "rejected", code: "quota_exhausted", detail };
  }
  const refused = failures.find((_, index) => codes[index] !== "webhook_expired");
  const detail = `${target.kind}:${target.id} has no fresh webhook and no staffId to send to`;
  return refused ?? { kind: "rejected", code: "no_route", detail };
}

function later(code: ErrorCode, detail: string, afterMs: number): Outcome {
  return { kind: "retry", code, class: "peer-away", detail, afterMs };
}
