import type { Envelope } from "../domain/envelope.ts";
import type { BridgeAnswer, BridgeCalls } from "./gateway-calls.ts";

/** What became of a reply: the bridge's answer to its last call. */
export interface Replied {
  envelope: Envelope;
  status: number;
  /** Of the message, or of the stream. */
  id: string | undefined;
}

/** Replies of one conversation go one after another: a chat partner does not overtake itself. */
export class Replies {
  readonly #calls: BridgeCalls;
  readonly #tails = new Map<string, Promise<void>>();
  /** That the bridge took. */
  accepted = 0;
  onReplied: ((reply: Replied) => void) | undefined;

  constructor(calls: BridgeCalls) {
    this.#calls = calls;
  }

  /** A text to where the envelope came from, after `delayMs`. */
  send(envelope: Envelope, text: string, delayMs: number): void {
    this.run(envelope, async () => {
      if (delayMs > 0) await this.#calls.pause(delayMs);
      return this.#calls.insist(messageOf(envelope, { type: "text", text }));
    });
  }

  /** Work of which the last answer counts; undefined when nothing is to be told of it. */
  run(envelope: Envelope, work: () => Promise<BridgeAnswer | undefined>): void {
    const lane = laneOf(envelope);
    const before = this.#tails.get(lane) ?? Promise.resolve();
    const tail = before
      .then(work)
      .then((answer) => this.#tell(envelope, answer))
      .finally(() => {
        if (this.#tails.get(lane) === tail) this.#tails.delete(lane);
      });
    this.#tails.set(lane, tail);
  }

  /** Conversations to which something is on its way. */
  get running(): number {
    return this.#tails.size;
  }

  #tell(envelope: Envelope, answer: BridgeAnswer | undefined): void {
    if (!answer) return;
    if (answer.ok) this.accepted += 1;
    const { id } = answer.body;
    this.onReplied?.({ envelope, status: answer.status, id: typeof id === "string" ? id : undefined });
  }
}

/** The call that sends `content` as the `n`th message of the answer to an envelope. */
export function messageOf(envelope: Envelope, content: object, n = 1) {
  const { account, id } = envelope;
  return {
    account,
    method: "POST",
    path: "/v1/messages",
    headers: { "idempotency-key": encodeURI(`${id}/scripted/${n}`) },
    json: { account, to: envelope.reply?.to, inReplyTo: id, content },
  };
}

/** Of the conversation, however it is called. */
export function laneOf(envelope: Envelope): string {
  if (envelope.type === "message") return `${envelope.account} ${envelope.message.conversation.id}`;
  const conversation = envelope.type === "card.action" ? envelope.action.conversation?.id : undefined;
  return `${envelope.account} ${conversation ?? envelope.reply?.to ?? envelope.id}`;
}
