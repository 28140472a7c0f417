import type { SimulatedCard, SimulatedReaction } from "./dingtalk-card-types.ts";
import type { DingtalkSimulator } from "./dingtalk-simulator.ts";
import type { RequestRecord, SentMessage, UploadedFile } from "./dingtalk-types.ts";
import type { Screen } from "./terminal-screen.ts";
import { isGrowing, isLive, liveText, messageText, variablesText } from "./terminal-show.ts";
import { harmless, headOf, tailOf, widthOf } from "./terminal-text.ts";

/** What the robot sent that can be answered. */
export type RobotMessage = { message: SentMessage } | { card: SimulatedCard };

interface ShownCard {
  /** Its end is on the screen. */
  isFinal: boolean;
  /** As they were shown last. */
  params: Record<string, string>;
}

const INDENT = "\n         ";

/** Shows what becomes visible in the chats: messages, cards as they fill up, reactions, and what is taken back. */
export class Chat {
  readonly #dingtalk: DingtalkSimulator;
  readonly #screen: Screen;
  readonly #labelOf: (conversationId: string) => string;
  readonly #cards = new Map<SimulatedCard, ShownCard>();
  readonly #recalled = new Set<SentMessage>();
  readonly #reactions = new Map<SimulatedReaction, "attached" | "recalled">();
  readonly #last = new Map<string, RobotMessage>();
  #lastCard: SimulatedCard | undefined;
  readonly #fileOf: (mediaId: string) => UploadedFile | undefined;
  #shown = 0;
  #lastSignAt = performance.now();

  /** `labelOf` says which chat it is, "" for the one that the person is in. */
  constructor(dingtalk: DingtalkSimulator, screen: Screen, labelOf: (conversationId: string) => string) {
    this.#dingtalk = dingtalk;
    this.#screen = screen;
    this.#labelOf = labelOf;
    this.#fileOf = (mediaId) => dingtalk.media.fileOf(mediaId);
    dingtalk.events.on("sent", (sent) => this.#sent(sent));
    dingtalk.events.on("card", (card) => this.#card(card));
    dingtalk.events.on("request", (request) => this.#requested(request));
  }

  /** Messages and cards that appeared. */
  get shown(): number {
    return this.#shown;
  }

  /** When a message or a card last came or changed: `performance.now()`. */
  get lastSignAt(): number {
    return this.#lastSignAt;
  }

  /** A card is still being written. */
  get isGrowing(): boolean {
    return this.#dingtalk.cards.some(isGrowing);
  }

  lastIn(conversationId: string): RobotMessage | undefined {
    return this.#last.get(conversationId);
  }

  get lastCard(): SimulatedCard | undefined {
    return this.#lastCard;
  }

  #print(conversationId: string, text: string): void {
    const label = this.#labelOf(conversationId);
    const where = label === "" ? "" : ` (${label})`;
    this.#screen.print(`robot${where}  > ${text.trimEnd().replaceAll(/\n(?!\n)/g, INDENT)}`);
  }

  #sent(message: SentMessage): void {
    this.#shown += 1;
    this.#lastSignAt = performance.now();
    this.#last.set(message.conversationId, { message });
    this.#print(message.conversationId, messageText(message, this.#fileOf));
  }

  #card(card: SimulatedCard): void {
    if (!card.delivered) return;
    this.#lastSignAt = performance.now();
    const before = this.#cards.get(card);
    const isFinal = card.finishedAt !== undefined;
    this.#cards.set(card, { isFinal, params: { ...card.params } });
    if (!before) {
      this.#shown += 1;
      this.#lastCard = card;
      this.#last.set(card.conversationId, { card });
    }
    if (isLive(card)) {
      if (before?.isFinal !== true) this.#grows(card, before === undefined);
    } else if (!before) {
      const { summary, conversationId } = card;
      const name = summary["ZH_CN"] ?? Object.values(summary)[0] ?? card.templateId;
      this.#print(conversationId, `[card ${name}]\n${variablesText(card)}`);
    } else this.#changed(card, before.params);
  }

  /** On a terminal one line that is written over; else the first text and the last. */
  #grows(card: SimulatedCard, isFirst: boolean): void {
    const text = harmless(liveText(card, this.#fileOf));
    if (card.finishedAt !== undefined) {
      const state = card.flowStatus === "5" ? "failed" : "finished";
      const blank = card.blank ? "\n(too long: people see this card empty)" : "";
      this.#print(card.conversationId, `[card, ${state}] ${text}${blank}`);
      return;
    }
    if (!this.#screen.isTerminal) {
      if (isFirst) this.#print(card.conversationId, `[card, growing] ${text}`);
      return;
    }
    const label = this.#labelOf(card.conversationId);
    const head = `robot${label === "" ? "" : ` (${headOf(label, 6)})`}  > [card, ${text.length} letters] `;
    // The last column stays free: some terminals go to the next line with it.
    this.#screen.live(`${head}${tailOf(text, this.#screen.columns - widthOf(head) - 2)}`);
  }

  #changed(card: SimulatedCard, before: Record<string, string>): void {
    const changed = Object.entries(card.params).filter(([name, value]) => before[name] !== value);
    if (changed.length === 0) return;
    const values = changed.map(([name, value]) => `${name}: ${value}`).join(", ");
    this.#print(card.conversationId, `[card changed] ${values}`);
  }

  /** Reactions and recalls have no event of their own: they are looked for behind the calls that cause them. */
  #requested({ api, code }: RequestRecord): void {
    if (code !== "ok") return;
    if (api.startsWith("emotion/")) this.#reacted();
    else if (/recall$/i.test(api)) this.#tookBack();
  }

  #reacted(): void {
    for (const reaction of this.#dingtalk.reactions) {
      const state = reaction.recalled ? "recalled" : "attached";
      if (this.#reactions.get(reaction) === state) continue;
      this.#reactions.set(reaction, state);
      const what = reaction.recalled ? "taken back" : "attached to your message";
      this.#print(reaction.conversationId, `(reaction ${reaction.name} ${what})`);
    }
  }

  #tookBack(): void {
    for (const message of this.#dingtalk.sent) {
      if (!message.recalled || this.#recalled.has(message)) continue;
      this.#recalled.add(message);
      const what = headOf(messageText(message, this.#fileOf));
      this.#print(message.conversationId, `(message taken back: ${what})`);
      const last = this.#last.get(message.conversationId);
      if (last && "message" in last && last.message === message) this.#last.delete(message.conversationId);
    }
  }
}
