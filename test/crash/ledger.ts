import type { DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { GatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";

/** A message as a person wrote it, with when DingTalk pushed it first and when its ack came. */
export interface Written {
  text: string;
  conversation: string;
  pushedAt: number;
  ackedAt: number | undefined;
}

export interface Verdict {
  written: number;
  accepted: number;
  /** Acked, but never at the gateway. */
  lostInbound: string[];
  /** Pairs of one conversation where the first was acked before the second was pushed, but the gateway took them the other way round. */
  disorderInbound: string[];
  /** Replies that the API answered 202 but DingTalk never got. */
  lostOutbound: string[];
  disorderOutbound: string[];
  /** POSTs of an envelope beyond its first. */
  repeatedPosts: number;
  /** Sends of a reply beyond its first. */
  duplicateSends: number;
}

/** What each party saw, and whether the promises held. */
export class Ledger {
  readonly #written = new Map<string, Written>();
  /** Texts of replies in the order in which the bridge accepted them, per conversation. */
  readonly #replies = new Map<string, string[]>();

  write(text: string, conversation: string): Written {
    const one: Written = { text, conversation, pushedAt: performance.now(), ackedAt: undefined };
    this.#written.set(text, one);
    return one;
  }

  replied(text: string, conversation: string): void {
    const list = this.#replies.get(conversation) ?? [];
    list.push(text);
    this.#replies.set(conversation, list);
  }

  get accepted(): Written[] {
    return [...this.#written.values()].filter(({ ackedAt }) => ackedAt !== undefined);
  }

  get replies(): number {
    return [...this.#replies.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** True once everything accepted has arrived, both ways. */
  settled(dingtalk: DingtalkSimulator, gateway: GatewaySimulator): boolean {
    const verdict = this.judge(dingtalk, gateway);
    return (
      verdict.lostInbound.length === 0 && verdict.lostOutbound.length === 0 && this.replies >= gateway.taken.length
    );
  }

  judge(dingtalk: DingtalkSimulator, gateway: GatewaySimulator): Verdict {
    const taken = gateway.taken.flatMap((one) => (one.type === "message" ? [one.message.text] : []));
    const place = new Map(taken.map((text, index) => [text, index]));
    const sent = dingtalk.sent.map(({ text }) => text);
    const firstSent = new Map<string, number>();
    for (const [index, text] of sent.entries()) if (!firstSent.has(text)) firstSent.set(text, index);
    const accepted = this.accepted;
    return {
      written: this.#written.size,
      accepted: accepted.length,
      lostInbound: accepted.filter(({ text }) => !place.has(text)).map(({ text }) => text),
      disorderInbound: this.#disorder(accepted, place),
      lostOutbound: [...this.#replies.values()].flat().filter((text) => !firstSent.has(text)),
      disorderOutbound: [...this.#replies.values()].flatMap((list) => inversions(list, firstSent)),
      repeatedPosts: gateway.received.length - new Set(gateway.received.map(({ envelope }) => envelope.id)).size,
      duplicateSends: sent.length - firstSent.size,
    };
  }

  #disorder(accepted: Written[], place: Map<string, number>): string[] {
    const found: string[] = [];
    for (const group of Map.groupBy(accepted, ({ conversation }) => conversation).values()) {
      for (const first of group) {
        for (const second of group) {
          const inOrder = (place.get(first.text) ?? 0) <= (place.get(second.text) ?? Infinity);
          if ((first.ackedAt ?? Infinity) < second.pushedAt && !inOrder)
            found.push(`${first.text} after ${second.text}`);
        }
      }
    }
    return found;
  }
}

/** Neighbours of `list` whose first arrivals are the other way round. */
function inversions(list: string[], arrival: Map<string, number>): string[] {
  return list.slice(1).flatMap((text, index) => {
    const before = list[index] ?? "";
    return (arrival.get(before) ?? 0) > (arrival.get(text) ?? Infinity) ? [`${before} after ${text}`] : [];
  });
}
