/** What was seen of streams and cards, in journals beside those of messages. Times as in ledger.ts. */
export type StreamEntry =
  /** The bridge answered 201. */
  | { e: "stream.opened"; at: number; id: string; key: string; conversation: string; text: string; lengths: number[] }
  /** A PUT of so much of the text; status 0 = no answer. */
  | { e: "stream.put"; key: string; from: number; at: number; length: number; status: number }
  /** The gateway begins to end it. */
  | { e: "stream.finishing"; at: number; key: string; body: FinishBody }
  | { e: "stream.finished"; at: number; key: string; status: number; detail: string }
  /** The gateway will not speak of it any more. */
  | { e: "stream.left"; key: string }
  /** An ordinary message of the same gateway, before its POST and after its 202. */
  | { e: "note.posting"; at: number; key: string; conversation: string }
  | { e: "note.accepted"; at: number; key: string }
  /** A DingTalk without any memory. */
  | { e: "dingtalk.began" }
  /** How a card is to be seen. */
  | { e: "card"; at: number; card: SeenCard }
  | { e: "message"; conversation: string; text: string }
  /** The simulator has to complain. */
  | { e: "problem"; text: string }
  | { e: "killed"; at: number; victim: "bridge" | "gateway" | "dingtalk" };

export interface FinishBody {
  text: string;
  outcome: "done" | "failed" | "aborted";
  account: string;
  to?: string;
}

export interface SeenCard {
  outTrackId: string;
  conversation: string;
  content: string;
  flowStatus: string;
  delivered: boolean;
  deliveries: number;
  blank: boolean;
}

const KINDS: ReadonlySet<string> = new Set<StreamEntry["e"]>([
  "stream.opened",
  "stream.put",
  "stream.finishing",
  "stream.finished",
  "stream.left",
  "note.posting",
  "note.accepted",
  "dingtalk.began",
  "card",
  "message",
  "problem",
  "killed",
]);

export const isStreamEntry = (entry: { e: string }): entry is StreamEntry => KINDS.has(entry.e);
