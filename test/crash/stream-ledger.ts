import type { FinishBody, SeenCard, StreamEntry } from "./stream-entries.ts";
import { streamMarksIn } from "./stream-script.ts";

export interface Put {
  from: number;
  at: number;
  length: number;
  status: number;
}

/** A stream as its gateway knows it. */
export interface StreamSeen {
  key: string;
  conversation: string;
  text: string;
  /** What its PUTs may say: how much of the text. One may be answered, and never noted. */
  lengths: number[];
  openedAt: number;
  puts: Put[];
  finishing: { at: number; body: FinishBody } | undefined;
  finished: { at: number; status: number; detail: string } | undefined;
  isLeft: boolean;
}

/** A card as people saw it. One that DingTalk forgot when it was killed counts for itself. */
export interface CardSeen {
  outTrackId: string;
  /** Which DingTalk knew it. */
  life: number;
  conversation: string;
  /** Place among all that was to be seen; Infinity while it was in no chat. */
  place: number;
  shownAt: number;
  content: string;
  /** All that it showed and when, the last one too. */
  shown: { at: number; content: string }[];
  flowStatus: string;
  deliveries: number;
  isBlank: boolean;
}

export interface MessageSeen {
  place: number;
  conversation: string;
  text: string;
}

export interface NoteSeen {
  key: string;
  conversation: string;
  postedAt: number;
  acceptedAt: number;
}

export interface Kill {
  at: number;
  victim: "bridge" | "gateway" | "dingtalk";
}

/** What the parties saw of streams, put together by stream. */
export class StreamLedger {
  readonly streams = new Map<string, StreamSeen>();
  readonly cards = new Map<string, CardSeen[]>();
  readonly messages = new Map<string, MessageSeen[]>();
  readonly notes = new Map<string, NoteSeen>();
  readonly problems: string[] = [];
  readonly kills: Kill[] = [];
  /** Cards in which no mark was ever seen. */
  readonly nameless = new Map<string, CardSeen>();
  readonly #byTrack = new Map<string, CardSeen>();
  #life = 0;
  #places = 0;
  #entries = 0;

  /** Entries seen so far. */
  get entries(): number {
    return this.#entries;
  }

  /** Which DingTalk is there now. */
  get life(): number {
    return this.#life;
  }

  add(entry: StreamEntry): void {
    this.#entries += 1;
    switch (entry.e) {
      case "stream.opened": {
        const { key, conversation, text, lengths, at: openedAt } = entry;
        const rest = { puts: [], finishing: undefined, finished: undefined, isLeft: false };
        this.streams.set(key, { key, conversation, text, lengths, openedAt, ...rest });
        return;
      }
      case "stream.put":
        this.streams.get(entry.key)?.puts.push(entry);
        return;
      case "stream.finishing":
        this.#with(entry.key, (stream) => (stream.finishing = entry));
        return;
      case "stream.finished":
        this.#with(entry.key, (stream) => (stream.finished = entry));
        return;
      case "stream.left":
        this.#with(entry.key, (stream) => (stream.isLeft = true));
        return;
      case "note.posting": {
        const { key, conversation, at: postedAt } = entry;
        this.notes.set(key, { key, conversation, postedAt, acceptedAt: Infinity });
        return;
      }
      case "note.accepted": {
        const note = this.notes.get(entry.key);
        if (note) note.acceptedAt = entry.at;
        return;
      }
      case "dingtalk.began":
        this.#life += 1;
        return;
      case "card":
        this.#card(entry.card, entry.at);
        return;
      case "message":
        this.#message(entry);
        return;
      case "problem":
        this.problems.push(entry.text);
        return;
      case "killed":
        this.kills.push(entry);
        return;
    }
  }

  #with(key: string, change: (stream: StreamSeen) => void): void {
    const stream = this.streams.get(key);
    if (stream) change(stream);
  }

  #card({ outTrackId, conversation, content, flowStatus, delivered, deliveries, blank }: SeenCard, at: number): void {
    const track = `${this.#life} ${outTrackId}`;
    const fresh: CardSeen = {
      outTrackId,
      life: this.#life,
      conversation,
      place: Infinity,
      shownAt: Infinity,
      content: "",
      shown: [],
      flowStatus,
      deliveries,
      isBlank: false,
    };
    const card = this.#byTrack.get(track) ?? fresh;
    if (card === fresh) {
      this.#byTrack.set(track, card);
      this.nameless.set(track, card);
    }
    if (delivered && card.place === Infinity) {
      this.#places += 1;
      Object.assign(card, { place: this.#places, shownAt: at, conversation });
    }
    if (content !== card.content) card.shown.push({ at, content });
    Object.assign(card, { content, flowStatus, deliveries, isBlank: card.isBlank || blank });
    const key = this.nameless.has(track) ? streamMarksIn(content)?.key : undefined;
    if (key === undefined) return;
    this.nameless.delete(track);
    listOf(this.cards, key).push(card);
  }

  #message({ conversation, text }: { conversation: string; text: string }): void {
    const key = streamMarksIn(text)?.key;
    if (key === undefined) return;
    this.#places += 1;
    listOf(this.messages, key).push({ place: this.#places, conversation, text });
  }
}

function listOf<T>(map: Map<string, T[]>, key: string): T[] {
  const list = map.get(key) ?? [];
  map.set(key, list);
  return list;
}
