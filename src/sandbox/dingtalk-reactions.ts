import type { SimulatedReaction } from "./dingtalk-card-types.ts";
import { robotTopic } from "./dingtalk-delivery.ts";
import { CappedMap, type Records } from "./dingtalk-records.ts";

/** Messages that still take reactions. */
const SAID_KEPT = 10_000;

/** Reactions of robots under people's messages. */
export class Reactions {
  readonly #records: Records;
  /** App and msgId → when its robot was first told of the message. */
  readonly #said = new CappedMap<string, number>(() => SAID_KEPT);
  readonly #shown = new Map<string, SimulatedReaction>();

  constructor(records: Records) {
    this.#records = records;
    records.events.on("pushed", ({ topic, app, msgId = "", at, attempt }) => {
      if (topic === robotTopic && attempt === 1) this.#said.set(`${app} ${msgId}`, at);
    });
  }

  /** Epoch milliseconds; undefined when nobody said such a message to the app's robot. */
  saidAt(app: string, msgId: string): number | undefined {
    return this.#said.get(`${app} ${msgId}`);
  }

  /** The same one twice is seen once. */
  attach(reaction: Omit<SimulatedReaction, "seq" | "at">): void {
    const key = keyOf(reaction);
    if (this.#shown.has(key)) return;
    const shown = { seq: this.#records.nextSeq(), at: Date.now(), ...reaction };
    this.#shown.set(key, shown);
    this.#records.reactions.add(shown);
  }

  recall(reaction: Pick<SimulatedReaction, "app" | "msgId" | "name">): void {
    const key = keyOf(reaction);
    const shown = this.#shown.get(key);
    if (!shown) return;
    shown.recalled = true;
    this.#shown.delete(key);
  }

  clear(): void {
    this.#shown.clear();
  }
}

const keyOf = ({ app, msgId, name }: Pick<SimulatedReaction, "app" | "msgId" | "name">): string =>
  `${app} ${msgId} ${name}`;
