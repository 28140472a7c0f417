import type { Envelope } from "../../src/domain/envelope.ts";
import type { DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { GatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { sharedNow } from "../support/daemon-proc.ts";
import type { Entry } from "./ledger.ts";
import { replyTo } from "./script.ts";
import type { StreamEntry } from "./stream-entries.ts";
import { streamMarksIn } from "./stream-script.ts";

export interface Utterance {
  from: string;
  text: string;
  /** Title of a group; absent: the direct conversation. */
  group?: string;
}

/** Notes what DingTalk sees. The result is how people speak, so that what they said is noted before it is pushed. */
export function observeDingtalk(
  dingtalk: DingtalkSimulator,
  add: (entry: Entry) => void,
): (said: Utterance) => Promise<void> {
  const textOf = new Map<string, string>();
  dingtalk.events.on("ack", ({ msgId, code, malformed }) => {
    const text = msgId === undefined ? undefined : textOf.get(msgId);
    if (text !== undefined && code === 200 && malformed === undefined) add({ e: "acked", at: sharedNow(), text });
  });
  dingtalk.events.on("sent", ({ text }) => add({ e: "sent", text }));
  return async (said) => {
    add({ e: "said", at: sharedNow(), text: said.text, conversation: said.group ?? said.from });
    const { msgId } = await dingtalk.say(said);
    if (msgId !== undefined) textOf.set(msgId, said.text);
  };
}

/** Notes what is to be seen of streams: cards as they change, and messages that say something of a stream. */
export function observeCards(dingtalk: DingtalkSimulator, add: (entry: StreamEntry) => void): void {
  add({ e: "dingtalk.began" });
  dingtalk.events.on("problem", (text) => add({ e: "problem", text }));
  dingtalk.events.on("card", (card) => {
    const { outTrackId, flowStatus, delivered, deliveries, blank, conversationId: conversation, params } = card;
    const content = Object.entries(params).find(([name]) => name !== "flowStatus")?.[1] ?? "";
    const seen = { outTrackId, conversation, content, flowStatus, delivered, deliveries, blank };
    add({ e: "card", at: sharedNow(), card: seen });
  });
  dingtalk.events.on("sent", ({ conversationId: conversation, text }) => {
    if (streamMarksIn(text)) add({ e: "message", conversation, text });
  });
}

/** Notes what the gateway sees. A turn is noted before its POST is answered. */
export function observeGateway(gateway: GatewaySimulator, add: (entry: Entry) => void): void {
  gateway.events.on("turn", (envelope) => add({ e: "turn", at: sharedNow(), text: textOf(envelope) }));
  gateway.events.on("received", ({ envelope, status }) => add({ e: "posted", text: textOf(envelope), status }));
  gateway.events.on("replied", ({ envelope, status }) => {
    if (envelope.type !== "message" || status >= 300) return;
    const { conversation, sender } = envelope.message;
    add({ e: "replied", text: replyTo(envelope.message.text), conversation: conversation.title ?? sender.id });
  });
}

/** The scripted answer to what a person wrote. */
export function scriptedReply(envelope: Envelope): string | undefined {
  return envelope.type === "message" ? replyTo(envelope.message.text) : undefined;
}

function textOf(envelope: Envelope): string {
  return envelope.type === "message" ? envelope.message.text : envelope.id;
}
