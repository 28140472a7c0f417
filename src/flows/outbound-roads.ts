import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Budget } from "../domain/quota.ts";
import type { Target } from "../domain/target.ts";
import type { Mentions, SendContent } from "../dingtalk/bodies.ts";
import { type Conversation, type QueueStore, splitLane } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import {
  type CardUpdateContent,
  type NewCardContent,
  type OutboundContent,
  isMediaContent,
} from "./outbound-content.ts";

/** A way that a part can take to its conversation. */
export type Road =
  | { api: "webhook"; url: string }
  | { api: "oto"; staffId: string }
  | { api: "group"; id: string }
  | { api: "card"; to: { staffId: string } | { openConversationId: string } };

/** A part that is ready for the wire: its files are uploaded. */
export type ReadyContent = SendContent | NewCardContent | CardUpdateContent;

export const budgetOf = ({ api }: Road): Budget => (api === "webhook" ? "units" : "calls");

/** All there are for a content, one for each budget at most. `webhook` is the conversation's if it can still be used. */
export function roadsOf(
  content: OutboundContent,
  target: Target,
  conversation: Conversation | undefined,
  webhook: string | undefined,
): Road[] {
  const own = openApiRoad(target, conversation);
  if (content.type === "card" || content.type === "card.update") {
    if (!own) return [];
    const to = own.api === "oto" ? { staffId: own.staffId } : { openConversationId: own.id };
    return [{ api: "card", to }];
  }
  const open = own ? [own] : [];
  return webhook === undefined || isMediaContent(content) ? open : [{ api: "webhook", url: webhook }, ...open];
}

function openApiRoad(target: Target, conversation: Conversation | undefined) {
  if (target.kind === "user") return { api: "oto", staffId: target.id } as const;
  if (conversation?.kind !== "direct") return { api: "group", id: target.id } as const;
  return conversation.staffId === undefined ? undefined : ({ api: "oto", staffId: conversation.staffId } as const);
}

/** Sends a part that `roadsOf` gave this road. */
export function takeRoad(
  sender: AccountSender,
  road: Road,
  content: ReadyContent,
  mentions: Mentions | undefined,
): Promise<Outcome> {
  if (content.type === "card.update") return sender.updateCard(content);
  if (content.type === "card") {
    if (road.api !== "card") throw new Error(`a card by ${road.api}`);
    return sender.createCard({ ...content, to: road.to, ...(mentions && { mentions }) });
  }
  switch (road.api) {
    case "oto":
      return sender.toUser({ staffId: road.staffId, content });
    case "group":
      return sender.toGroup({ openConversationId: road.id, content });
    case "webhook":
      if (isMediaContent(content)) throw new Error(`${content.type} by webhook`);
      return sender.webhook({ webhookUrl: road.url, content, ...(mentions && { mentions }) });
    case "card":
      throw new Error(`${content.type} as a card`);
  }
}

/**
 * Whether the next road may be tried: this one surely delivered nothing, and the reason is its own. The Open API goes before a
 * webhook for the sake of the budget only, so what it cannot do (no permission, a group of another organisation) is no end.
 */
export function goesOn(road: Road, outcome: Outcome): boolean {
  if (outcome.kind !== "rejected" && outcome.kind !== "retry") return false;
  if (outcome.code === "webhook_expired" || outcome.code === "dingtalk_quota_exhausted") return true;
  const own: ErrorCode[] = ["dingtalk_permission_missing", "recipient_unknown", "dingtalk_rejected"];
  return road.api !== "webhook" && own.includes(outcome.code);
}

/** What to say when every road was tried or is closed (`someClosed`: DingTalk refuses it for want of quota). */
export function failureOf(failures: readonly Outcome[], someClosed: boolean, target: Target): Outcome {
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

/** Nothing was tried: the message waits and dies of its age at most. */
export function later(code: ErrorCode, detail: string, afterMs: number): Outcome & { kind: "retry" } {
  return { kind: "retry", code, class: "peer-away", detail, afterMs };
}

/** Refused before it came near the conversation. */
export function isNoSend(outcome: Outcome): boolean {
  return "code" in outcome && (outcome.code === "webhook_expired" || outcome.code === "dingtalk_quota_exhausted");
}

/** An unknown conversation is taken for a group. */
export function isGroup(target: Target, conversation: Conversation | undefined): boolean {
  return target.kind === "conversation" && conversation?.kind !== "direct";
}

/** The conversation that a target is, if it is known. */
export function conversationOf(store: QueueStore, account: string, target: Target): Conversation | undefined {
  return target.kind === "user" ? store.directConversation(account, target.id) : store.conversation(account, target.id);
}

export function targetOf(lane: string): { account: string; target: Target } {
  const { account, conversationId, staffId } = splitLane(lane);
  const isUser = staffId !== undefined;
  return { account, target: isUser ? { kind: "user", id: staffId } : { kind: "conversation", id: conversationId } };
}
