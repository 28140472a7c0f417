import type { StreamClose, StreamRow } from "../../src/queue/stream-store.ts";
import { type NewEntry, cardLane, conversationLane } from "../../src/queue/store.ts";
import { entry } from "./helpers.ts";

export const LANE = conversationLane("main", "cidA");

export function stream(n: number, fields: Partial<StreamRow> = {}): StreamRow {
  return {
    id: `st_${n}`,
    account: "main",
    lane: LANE,
    to: "conversation:cidA",
    inReplyTo: undefined,
    idleMs: 600_000,
    mode: "card",
    asked: undefined,
    format: "markdown",
    outTrackId: `br_${n}`,
    templateId: "template.schema",
    templateKey: "content",
    card: "none",
    text: "",
    seq: 0,
    state: "open",
    shownText: "",
    digest: undefined,
    finishedBy: undefined,
    messageId: undefined,
    createdAt: 1_000 + n,
    closedAt: undefined,
    ...fields,
  };
}

export const closing = (fields: Partial<StreamClose> = {}): StreamClose => ({
  text: "all of it",
  digest: "d1",
  finishedBy: "gateway",
  at: 5_000,
  ...fields,
});

/** What finishes the card of stream `n`. */
export const finalise = (n: number, fields: Partial<NewEntry> = {}): NewEntry =>
  entry(`finish${n}`, { queue: "outbox", lane: cardLane("main", `br_${n}`), kind: "card.finish", ...fields });

/** What did not fit on it. */
export const rest = (n: number, fields: Partial<NewEntry> = {}): NewEntry =>
  entry(`rest${n}`, { queue: "outbox", parts: [{ text: "one" }, { text: "two" }], ...fields });
