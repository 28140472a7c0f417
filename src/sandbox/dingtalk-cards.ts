import type { CardUpdate, SimulatedCard } from "./dingtalk-card-types.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import { CappedMap, type Records } from "./dingtalk-records.ts";
import type { App } from "./dingtalk-world.ts";

export type Params = Record<string, string>;

/** A new card, not yet in a chat. */
export type CardDraft = Pick<SimulatedCard, "outTrackId" | "templateId" | "params" | "privateParams"> &
  Pick<SimulatedCard, "callbackType" | "cardAtUserIds" | "summary">;

/** Where a card is put. */
export type CardPlace = Pick<SimulatedCard, "conversationId" | "spaceType" | "userId" | "atUserIds" | "carrierId">;

export interface CardChange {
  params?: Params | undefined;
  /** Keeps the variables that are not named. */
  byKey: boolean;
  /** By user id. */
  privateParams?: Record<string, Params> | undefined;
  privateByKey: boolean;
}

/** Updates that a card remembers against repetition. */
const GUIDS_KEPT = 1_000;
const states = new Set(["1", "2", "3", "4", "5"]);

interface Entry {
  card: SimulatedCard;
  /** guid → content. */
  guids: CappedMap<string, string>;
}

/** Every card, and what may become of it (dingtalk-protocol.md §4.5). Each change costs the same, however long the card lives. */
export class Cards {
  readonly #records: Records;
  readonly #knobs: SimulatorKnobs;
  readonly #entries: CappedMap<string, Entry>;

  constructor(records: Records, knobs: SimulatorKnobs) {
    this.#records = records;
    this.#knobs = knobs;
    this.#entries = new CappedMap(() => knobs.maxRecords);
  }

  /** An app's card. */
  find(app: App, outTrackId: string): SimulatedCard | undefined {
    return this.#entries.get(keyOf(app.appKey, outTrackId))?.card;
  }

  /** In state 1, or the `flowStatus` that its data asks for. */
  create(app: App, draft: CardDraft): SimulatedCard {
    const card: SimulatedCard = {
      ...draft,
      seq: this.#records.nextSeq(),
      app: app.appKey,
      conversationId: "",
      spaceType: "",
      flowStatus: "1",
      content: {},
      updates: [],
      streamed: 0,
      changed: 0,
      carrierId: "",
      atUserIds: {},
      createdAt: Date.now(),
      delivered: false,
      deliveries: 0,
      blank: false,
    };
    this.#entries.set(keyOf(card.app, card.outTrackId), { card, guids: new CappedMap(() => GUIDS_KEPT) });
    this.#records.cards.add(card);
    this.#enter(card, card.params["flowStatus"]);
    this.#look(card);
    return card;
  }

  /** Puts the card into a chat; its place there is now. */
  deliver(card: SimulatedCard, place: CardPlace): void {
    if (card.delivered) this.#records.problem(`card ${card.outTrackId}: delivered twice, people see it twice`);
    Object.assign(card, place, { seq: this.#records.nextSeq(), delivered: true, deliveries: card.deliveries + 1 });
    this.#records.emit("card", card);
  }

  /** Announces a card that reached nobody. */
  undelivered(card: SimulatedCard): void {
    if (!this.#knobs.cardKeptUndelivered) this.#entries.delete(keyOf(card.app, card.outTrackId));
    this.#records.emit("card", card);
  }

  /**
   * A streaming update. `replayed`: this guid took effect before; `finished`: the card takes none any more, unless the knob
   * `cardAfterFinal` lets it.
   */
  stream(
    card: SimulatedCard,
    update: Omit<CardUpdate, "at"> & { append: boolean },
  ): "done" | "replayed" | "finished" | "ignored" {
    const { append, ...rest } = update;
    const { key, content, guid } = rest;
    const guids = this.#entries.get(keyOf(card.app, card.outTrackId))?.guids;
    const before = guids?.get(guid);
    if (before !== undefined) {
      if (before !== content) this.#records.problem(`card ${card.outTrackId}: guid ${guid} used for another content`);
      return "replayed";
    }
    if (isFinal(card)) {
      this.#records.problem(`card ${card.outTrackId}: streaming update after the end (state ${card.flowStatus})`);
      if (this.#knobs.cardAfterFinal !== "reopen") {
        return this.#knobs.cardAfterFinal === "refuse" ? "finished" : "ignored";
      }
    }
    guids?.set(guid, content);
    const text = append ? (card.content[key] ?? "") + content : content;
    card.content[key] = text;
    card.params[key] = text;
    this.#keep(card, { at: Date.now(), ...rest });
    this.#enter(card, rest.isError ? "5" : rest.isFinalize ? "3" : "2");
    this.#look(card);
    this.#records.emit("card", card);
    return "done";
  }

  /** New values of variables; `flowStatus` among them moves the card to another state. */
  change(card: SimulatedCard, change: CardChange): void {
    const { params, byKey, privateParams = {}, privateByKey } = change;
    if (params) {
      if (!byKey) this.#forget(card, params);
      Object.assign(card.params, params);
      for (const key of Object.keys(card.content)) card.content[key] = params[key] ?? card.content[key] ?? "";
    }
    for (const [userId, own] of Object.entries(privateParams)) {
      card.privateParams[userId] = privateByKey ? { ...card.privateParams[userId], ...own } : own;
    }
    card.changed++;
    this.#enter(card, params?.["flowStatus"]);
    this.#look(card);
    this.#records.emit("card", card);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Overwriting is DingTalk's default, and hardly ever meant. */
  #forget(card: SimulatedCard, params: Params): void {
    const lost = Object.keys(card.params).filter((key) => !Object.hasOwn(params, key));
    if (lost.length > 0) {
      const names = lost.join(", ");
      this.#records.problem(`card ${card.outTrackId}: overwritten without updateCardDataByKey, lost: ${names}`);
    }
    for (const key of lost) {
      delete card.params[key];
      delete card.content[key];
    }
  }

  #keep(card: SimulatedCard, update: CardUpdate): void {
    const kept = this.#knobs.cardUpdatesKept;
    card.streamed++;
    card.updates.push(update);
    // A tenth at a time: one shift per update would be quadratic.
    if (card.updates.length > kept + Math.ceil(kept / 10)) card.updates.splice(0, card.updates.length - kept);
  }

  #look(card: SimulatedCard): void {
    const limit = this.#knobs.cardBlankChars;
    card.blank = limit > 0 && Object.values(card.params).some((value) => value.length > limit);
  }

  #enter(card: SimulatedCard, flowStatus: string | undefined): void {
    if (flowStatus === undefined || !states.has(flowStatus)) return;
    card.flowStatus = flowStatus;
    if (card.params["flowStatus"] !== undefined) card.params["flowStatus"] = flowStatus;
    if (isFinal(card)) card.finishedAt ??= Date.now();
  }
}

const isFinal = (card: SimulatedCard): boolean => card.flowStatus === "3" || card.flowStatus === "5";
const keyOf = (app: string, outTrackId: string): string => `${app} ${outTrackId}`;
