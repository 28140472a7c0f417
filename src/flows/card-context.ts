import { parseTarget } from "../domain/target.ts";
import type { PlanName } from "../domain/quota.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import { type QueueStore, conversationLane } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import { CardBreaker } from "./card-breaker.ts";
import type { CardCalls } from "./card-calls.ts";
import { CardDoors } from "./card-doors.ts";
import type { CardProblems } from "./card-problems.ts";
import type { SchedulePlan } from "./card-schedule.ts";
import { cardTarget } from "./card-target.ts";
import { type Pace, paceOf } from "./outbound-pace.ts";
import { conversationOf, isGroup } from "./outbound-roads.ts";
import type { Pacing } from "./pacing.ts";
import type { QuotaGovernor } from "./quota.ts";
import { finishEntry } from "./stream-entries.ts";
import { type ReplyFormat, type ReplySettings, formatOf, mostUpdates } from "./stream-settings.ts";

export interface CardContextOptions {
  store: QueueStore;
  calls: CardCalls;
  problems: CardProblems;
  pacing: Pacing;
  quota: Pick<QuotaGovernor, "ladder">;
  sender: (account: string) => Pick<AccountSender, "gates"> | undefined;
  settings: (account: string) => ReplySettings;
  plan: PlanName;
  /** What people call the robot: stands before a card's words in the list of chats. */
  label: (account: string) => string | undefined;
  /** What a card says whose text goes out as a message. */
  seeNext: string;
  onAppended: (lane: string) => void;
  /** A card shows something of the reply to this envelope. */
  onVisible: (envelopeId: string) => void;
  /** Calls of the month's budget that this reply has cost besides those of its card. */
  spent: (envelopeId: string) => number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

type Of = Pick<StreamRow, "account" | "to">;

/** From this rung of the governor on updates are rarer, and from that one on there are no new cards (design §7). */
const RARER_FROM = 1;
const NO_CARDS_FROM = 2;

/** What all live cards share, and the questions that they ask of it. */
export class CardContext {
  readonly options: CardContextOptions;
  readonly doors = new CardDoors();
  readonly breaker: CardBreaker;

  constructor(options: CardContextOptions) {
    this.options = options;
    this.breaker = new CardBreaker(options);
  }

  /** Of the conversation, as it is called now. */
  laneOf({ account, to, lane }: Of & Pick<StreamRow, "lane">): string {
    const target = parseTarget(to);
    if (target?.kind !== "user") return lane;
    const direct = this.options.store.directConversation(account, target.id);
    return direct ? conversationLane(account, direct.id) : lane;
  }

  paceOf({ account, to }: Of): Pace {
    const { store, pacing } = this.options;
    const target = parseTarget(to) ?? { kind: "conversation", id: to };
    return paceOf(pacing, account, target, conversationOf(store, account, target));
  }

  /** The format of a reply, by what was asked for it and its conversation. */
  formatOf({ account, to }: Of, asked?: ReplyFormat): ReplyFormat {
    const { store, settings } = this.options;
    const target = parseTarget(to) ?? { kind: "conversation", id: to };
    return formatOf(settings(account), isGroup(target, conversationOf(store, account, target)), asked);
  }

  /** Whether cards of the conversation are worth a try, as far as is known. `always`: whatever the month's budget says. */
  admits(of: Of & Pick<StreamRow, "lane">, always: boolean): boolean {
    const { account } = of;
    const { store, sender, problems, quota } = this.options;
    const gate = sender(account)?.gates.card;
    return (
      (always || quota.ladder(account) < NO_CARDS_FROM) &&
      gate !== undefined &&
      // While it is away a card may be its probe: nothing else may come by.
      (gate.shutSince === undefined || gate.admits) &&
      problems.admits(account) &&
      this.breaker.admits(createKey(this.laneOf(of))) &&
      cardTarget(store, account, of.to) !== undefined
    );
  }

  shown({ inReplyTo }: Pick<StreamRow, "inReplyTo">): void {
    if (inReplyTo !== undefined) this.options.onVisible(inReplyTo);
  }

  /** Milliseconds until the card may be created; undefined: not before something has changed. */
  mayCreate(row: StreamRow, always: boolean): number | undefined {
    const { store, sender } = this.options;
    if (store.head("outbox", this.laneOf(row)) || !this.admits(row, always)) return undefined;
    if (!sender(row.account)?.gates.card.admits) return PAUSED_MS;
    return this.paceOf(row).wait();
  }

  /** DingTalk may have made a card that must not go on for ever, and the reply does without it. */
  async abandon(row: StreamRow): Promise<void> {
    const { store, onAppended, seeNext, clock } = this.options;
    const end = { text: seeNext, outcome: "done", creating: false, abandoned: true, at: clock.now() } as const;
    const { lane } = await store.append(finishEntry(row, end));
    onAppended(lane);
  }

  /** The card is full: its end is stored while its stream goes on. False when the stream is closed. */
  async fill(row: StreamRow, texts: { shownText: string; text: string }): Promise<boolean> {
    const { store, onAppended, clock } = this.options;
    const end = { text: texts.shownText, outcome: "done", creating: false, at: clock.now() } as const;
    const appended = await store.streams.fill(row.id, texts, [finishEntry(row, end)]);
    if (appended) for (const { lane } of appended) onAppended(lane);
    return appended !== false;
  }

  schedule({ account, inReplyTo }: Pick<StreamRow, "account" | "inReplyTo">, always: boolean): SchedulePlan {
    const { settings, quota, plan, spent } = this.options;
    const reply = settings(account);
    const most = mostUpdates(reply, plan);
    const others = inReplyTo === undefined ? 0 : spent(inReplyTo);
    return {
      most: most === undefined ? undefined : Math.max(0, most - others),
      intervalMs: reply.cardIntervalMs,
      maxIntervalMs: reply.cardMaxIntervalMs,
      rarer: !always && quota.ladder(account) >= RARER_FROM,
    };
  }
}

/** Until it is looked again whether the endpoint, which asked for patience, takes something. */
const PAUSED_MS = 500;

export const createKey = (lane: string): string => `${lane}\ncreate`;
export const updateKey = (lane: string): string => `${lane}\nupdate`;
