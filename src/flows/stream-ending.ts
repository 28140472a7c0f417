import type { CardWindow } from "../domain/card-window.ts";
import type { CardState, StreamRow } from "../queue/stream-store.ts";
import type { NewEntry } from "../queue/store.ts";
import type { Mentions } from "./outbound-content.ts";
import { type FilesIn, type StreamOutcome, finishEntry, keyOf, messageEntry, messageId } from "./stream-entries.ts";

/** A stream as it is when it ends. */
export interface EndingStream {
  row: StreamRow;
  /** `doubtful`: its creation failed in a way that may have left one. */
  card: CardState | "doubtful";
  /** What the card says for good since it was full, its end being on its way or done; "" before that. */
  filled: string;
  window: CardWindow;
  /** The last text that was heard of. */
  text: string;
}

export interface StreamEnd {
  /** As the gateway gave it; undefined: it gave none, and what is known has to do. */
  text: string | undefined;
  outcome: StreamOutcome;
  mentions?: Mentions | undefined;
  /** Stands below the text of a stream that its gateway left; "" where nothing is to be said. */
  note: string;
  /** What a card says whose text goes out as a message. */
  seeNext: string;
  at: number;
}

export interface Ending {
  /** All that was said. */
  text: string;
  entries: NewEntry[];
  /** The entry that says it, or says the last of it. */
  messageId: string | undefined;
}

/**
 * What has to be sent so that the person has all of the text, once: by the card as far as it holds it, the rest as a message below it.
 * A card that has to be there ends in any case; where there is none and nothing was said, nothing is sent.
 */
export function endingOf(stream: EndingStream, end: StreamEnd, filesIn: FilesIn): Ending {
  const { row, card, filled, window } = stream;
  const hasCard = card === "shown" || card === "creating";
  const text = finalText(stream, end, hasCard || filled !== "");
  if (filled !== "") {
    const { shown, rest, replaced } = window.finish(text);
    // Cut by another limit before a restart, the rest cannot be told apart.
    const isAnew = replaced || shown !== filled;
    return said(text, [], messagesOf(row, end, isAnew ? text : rest, filesIn, row.id));
  }
  if (!hasCard) {
    const messages = messagesOf(row, end, text, filesIn);
    const last = messages.length > 0 ? end.seeNext : end.note;
    const doubtful = { text: last, outcome: end.outcome, creating: false, abandoned: true, at: end.at };
    return said(text, card === "doubtful" ? [finishEntry(row, doubtful)] : [], messages);
  }
  const { shown, rest } = window.finish(text);
  const finish = finishEntry(row, {
    text: isBlank(shown) ? end.note : shown,
    outcome: end.outcome,
    creating: card === "creating",
    at: end.at,
  });
  return said(text, [finish], messagesOf(row, end, rest, filesIn, row.id));
}

function finalText({ text: last }: EndingStream, { text, outcome, note }: StreamEnd, hasCard: boolean): string {
  if (text === undefined) return isBlank(last) ? (hasCard ? note : "") : withNote(last, note);
  if (!isBlank(text)) return text;
  if (!hasCard) return "";
  return isBlank(last) || outcome === "failed" ? withNote(last, note) : last;
}

function withNote(text: string, note: string): string {
  if (note === "") return text;
  return isBlank(text) ? note : `${text.trimEnd()}\n\n${note}`;
}

/** `belowCardOf`: it waits for the end of that stream's card. */
function messagesOf(
  row: StreamRow,
  { text: given, mentions, at }: StreamEnd,
  text: string,
  filesIn: FilesIn,
  belowCardOf?: string,
) {
  if (isBlank(text)) return [];
  const key = keyOf(row.id, given === undefined ? "cut" : undefined);
  return [messageEntry(row, { id: messageId(), key, text, mentions, belowCardOf, at }, filesIn)];
}

function said(text: string, cards: NewEntry[], messages: NewEntry[]): Ending {
  const entries = [...cards, ...messages];
  return { text, entries, messageId: entries.at(-1)?.id };
}

export const isBlank = (text: string): boolean => text.trim() === "";
