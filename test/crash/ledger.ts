import { mostOverdue, outOfOrder } from "./order.ts";
import { marksIn } from "./script.ts";

/** One thing that a party saw. Times are milliseconds of the clock that all processes share. */
export type Entry =
  /** A person wrote; DingTalk pushes it now for the first time. */
  | { e: "said"; at: number; text: string; conversation: string }
  | { e: "acked"; at: number; text: string }
  /** One POST as the gateway answered it. */
  | { e: "posted"; text: string; status: number }
  /** The gateway began to work on it. */
  | { e: "turn"; at: number; text: string }
  /** The bridge answered 202 to a reply. */
  | { e: "replied"; text: string; conversation: string }
  /** DingTalk executed a send. */
  | { e: "sent"; text: string };

export interface Verdict {
  said: number;
  acked: number;
  /** Acked, but the gateway never began to work on it. */
  lostInbound: string[];
  /** The first was acked before the second was pushed, but the gateway began with the second. */
  disorderInbound: string[];
  replied: number;
  /** Pieces of replies that the API answered 202 but DingTalk never got. */
  lostOutbound: string[];
  disorderOutbound: string[];
  /** Answers by status to POSTs. */
  posts: Record<number, number>;
  held: number;
  repeatedTurns: number;
  repeatedSends: number;
  /** The most repeats in one conversation. */
  worstTurns: number;
  worstSends: number;
}

interface Said {
  text: string;
  conversation: string;
  saidAt: number;
  ackedAt: number;
  turn: number;
}

/** What each party saw, and whether the promises of design §2 held. */
export class Ledger {
  readonly #said = new Map<string, Said>();
  /** Marks in the order in which the bridge accepted them, per conversation. */
  readonly #replies = new Map<string, string[]>();
  readonly #conversationOf = new Map<string, string>();
  readonly #sent = new Map<string, number>();
  readonly #posts: Record<number, number> = {};
  readonly #heldOnce = new Set<string>();
  readonly #repeatedTurns = new Map<string, number>();
  readonly #repeatedSends = new Map<string, number>();
  #turns = 0;
  #sends = 0;
  #entries = 0;

  /** Entries seen so far: stands still when nothing happens any more. */
  get entries(): number {
    return this.#entries;
  }

  get acked(): number {
    return this.#said.values().reduce((sum, { ackedAt }) => sum + (Number.isFinite(ackedAt) ? 1 : 0), 0);
  }

  add(entry: Entry): void {
    this.#entries += 1;
    switch (entry.e) {
      case "said":
        this.#said.set(entry.text, {
          text: entry.text,
          conversation: entry.conversation,
          saidAt: entry.at,
          ackedAt: Infinity,
          turn: Infinity,
        });
        return;
      case "acked": {
        const said = this.#said.get(entry.text);
        if (said) said.ackedAt = Math.min(said.ackedAt, entry.at);
        return;
      }
      case "posted":
        this.#posts[entry.status] = (this.#posts[entry.status] ?? 0) + 1;
        if (entry.status === 202) this.#heldOnce.add(entry.text);
        return;
      case "turn":
        this.#turn(entry.text);
        return;
      case "replied":
        this.#replied(entry.text, entry.conversation);
        return;
      case "sent":
        this.#send(entry.text);
        return;
    }
  }

  #turn(text: string): void {
    const said = this.#said.get(text);
    this.#turns += 1;
    if (!said) return;
    if (said.turn === Infinity) said.turn = this.#turns;
    else bump(this.#repeatedTurns, said.conversation);
  }

  #replied(text: string, conversation: string): void {
    const list = this.#replies.get(conversation) ?? [];
    this.#replies.set(conversation, list);
    for (const mark of marksIn(text)) {
      // Accepted again under its key after the gateway forgot.
      if (this.#conversationOf.has(mark)) continue;
      this.#conversationOf.set(mark, conversation);
      list.push(mark);
    }
  }

  #send(text: string): void {
    const marks = marksIn(text);
    this.#sends += 1;
    const [first] = marks;
    if (first !== undefined && marks.every((mark) => this.#sent.has(mark))) {
      // The reply's conversation may be unknown: the gateway died before it could note that the bridge had taken it.
      bump(this.#repeatedSends, this.#conversationOf.get(first) ?? first);
      return;
    }
    for (const mark of marks) if (!this.#sent.has(mark)) this.#sent.set(mark, this.#sends);
  }

  /** True once everything accepted has arrived, both ways. */
  get settled(): boolean {
    return this.#lostInbound().length === 0 && this.#lostOutbound().length === 0;
  }

  judge(): Verdict {
    const all = [...this.#said.values()];
    const acked = all.filter(({ ackedAt }) => Number.isFinite(ackedAt));
    const byConversation = Map.groupBy(acked, ({ conversation }) => conversation);
    const repeated = (counts: Map<string, number>): number => counts.values().reduce((sum, n) => sum + n, 0);
    return {
      said: all.length,
      acked: acked.length,
      lostInbound: this.#lostInbound(),
      disorderInbound: [...byConversation.values()].flatMap((group) => mostOverdue(group)),
      replied: this.#conversationOf.size,
      lostOutbound: this.#lostOutbound(),
      disorderOutbound: [...this.#replies.values()].flatMap((list) => outOfOrder(list, this.#sent)),
      posts: this.#posts,
      held: this.#heldOnce.size,
      repeatedTurns: repeated(this.#repeatedTurns),
      repeatedSends: repeated(this.#repeatedSends),
      worstTurns: Math.max(0, ...this.#repeatedTurns.values()),
      worstSends: Math.max(0, ...this.#repeatedSends.values()),
    };
  }

  #lostInbound(): string[] {
    const lost = this.#said.values().filter(({ ackedAt, turn }) => Number.isFinite(ackedAt) && turn === Infinity);
    return [...lost].map(({ text }) => text);
  }

  #lostOutbound(): string[] {
    return [...this.#conversationOf.keys()].filter((mark) => !this.#sent.has(mark));
  }
}

/** What was broken, in words; empty when every promise held. */
export function brokenPromises(
  verdict: Verdict,
  /** Repeats that the kills of this run explain, per conversation. */
  allowed: { turns: number; sends: number },
): string[] {
  const list = (what: string, texts: string[]): string[] =>
    texts.length === 0 ? [] : [`${texts.length} ${what}: ${texts.slice(0, 5).join(", ")}`];
  return [
    ...list("acked and never at the gateway", verdict.lostInbound),
    ...list("out of order at the gateway", verdict.disorderInbound),
    ...list("answered 202 and never at DingTalk", verdict.lostOutbound),
    ...list("out of order at DingTalk", verdict.disorderOutbound),
    ...(verdict.worstTurns > allowed.turns ? [`${verdict.worstTurns} repeated turns in one conversation`] : []),
    ...(verdict.worstSends > allowed.sends ? [`${verdict.worstSends} repeated sends in one conversation`] : []),
    ...(verdict.acked === 0 ? ["nothing was acked: nothing is proven"] : []),
  ];
}

function bump(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
