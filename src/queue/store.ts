import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import type { CardTexts } from "./card-texts.ts";
import type { IndicatorStore } from "./indicator-store.ts";
import type { MediaStore, NewFetch } from "./media-store.ts";
import type { Usage } from "./quota-store.ts";
import type { StreamStore } from "./stream-store.ts";

export type QueueName = "inbox" | "outbox";

/** `open` entries are worked on; the other states are final (a dead letter can be replayed). */
export type EntryState = "open" | "delivered" | "cancelled" | "dead";

/** Why an entry is where it is: the last failure, in the closed codes. */
export interface EntryError {
  code: ErrorCode;
  detail: string;
}

/** What a caller appends. `body` is any JSON value; `key` is what a repeat is recognised by, unique per queue. */
export interface NewEntry {
  queue: QueueName;
  /** Public and stable: the envelope id, the id of an API message. */
  id: string;
  key: string;
  account: string;
  /** Entries of one lane run one after another, in order of commit. */
  lane: string;
  kind: string;
  body: unknown;
  /** SHA-256 of the request that made the entry, to tell a repeat from a reused key. */
  digest?: string;
  /** Epoch milliseconds. */
  createdAt: number;
  /** Pieces that are settled one by one, in order. */
  parts?: unknown[];
  /** Refuses the entry, unless it repeats a key, when so many are open in its lane or in its queue. Counts. */
  atMost?: { lane: number; queue: number } | undefined;
  /** Commits the entry as already final: something to be listed, never worked on. */
  dead?: EntryError;
  /** Commits the entry as cancelled, and why: kept and traced, not an alarm. */
  cancelled?: EntryError;
  /** Who wrote it, as the account knows people: the staffId, else DingTalk's encrypted id. */
  sender?: string;
  /** Of an outbox message: id of the envelope that it answers. */
  inReplyTo?: string | undefined;
  /** What the entry cost of the month's quota: counted in the same commit, unless it repeats a key. */
  usage?: Usage;
  /** In the same commit, open entries of this lane by the same sender that nobody has taken become cancelled. */
  cancels?: { lane: string };
  /** Files of an inbox message to be fetched from DingTalk: stored in the same commit, gone with the entry. */
  fetches?: readonly NewFetch[];
  /** Ids of the files that an outbox message uses: kept while it is open. */
  media?: readonly string[];
}

export interface Entry {
  seq: number;
  queue: QueueName;
  id: string;
  key: string;
  account: string;
  lane: string;
  kind: string;
  body: unknown;
  digest: string | undefined;
  createdAt: number;
  state: EntryState;
  /** An attempt is under way, or was when the process died. */
  begun: boolean;
  /** Attempts that count (see Outcome in domain/outcome.ts). */
  attempts: number;
  /** How often the process died during an attempt at this entry. */
  crashes: number;
  /** Epoch milliseconds; not before this time. 0 until the first attempt. */
  dueAt: number;
  /** Some attempt ended without an answer, so a duplicate is possible. */
  uncertain: boolean;
  settledAt: number | undefined;
  receipt: Receipt | undefined;
  error: EntryError | undefined;
}

export interface Part {
  n: number;
  body: unknown;
  /** Present once the part was delivered. */
  receipt: Receipt | undefined;
}

/** First open entry of a lane: all that is kept in memory of it. */
export interface LaneHead {
  lane: string;
  seq: number;
  dueAt: number;
  crashes: number;
}

export interface Appended {
  seq: number;
  id: string;
  /** Where it was put: `user:<staffId>` of the outbox becomes the direct conversation's lane once that is known. */
  lane: string;
  /** The key was there before; nothing was written. */
  duplicate: boolean;
  /** Digest stored with the first one, to compare on a duplicate. */
  digest: string | undefined;
  /** Lane `user:<staffId>` of the outbox whose open entries now belong to the direct conversation's lane. */
  merged?: { from: string; to: string };
  /** How many entries `cancels` ended. */
  cancelled?: number;
}

/** What an attempt came to, as the store keeps it. */
export type Settlement =
  | { state: "delivered" | "cancelled"; at: number; receipt?: Receipt | undefined }
  | { state: "dead"; at: number; error: EntryError; uncertain?: boolean }
  | { state: "open"; dueAt: number; counted: boolean; uncertain?: boolean; error?: EntryError | undefined };

/** A conversation as last seen; ids are opaque and case-sensitive. Webhooks are wiped when they expire. */
export interface Conversation {
  account: string;
  id: string;
  kind: "direct" | "group";
  title: string | undefined;
  /** Of a direct conversation: the person's staffId, when DingTalk told us. */
  staffId: string | undefined;
  webhook: { url: string; expiresAt: number } | undefined;
  lastSeen: number;
}

/** A part of an outbox message that reached DingTalk. */
export interface SentPart {
  /** The body of the part. */
  body: unknown;
  /** Epoch milliseconds of the receipt. */
  at: number;
  entryId: string;
}

export interface QueueCounts {
  open: number;
  dead: number;
  /** Epoch milliseconds of the oldest open entry. */
  oldestOpenAt: number | undefined;
}

/** Epoch milliseconds: what was settled, died, or was seen last before these times goes. */
export interface PurgeOptions {
  settledBefore: number;
  deadBefore: number;
  conversationsBefore: number;
  /** What webhooks are measured by. */
  now: number;
}

/**
 * The durable queues. Reads are synchronous and cheap; writes resolve once they are committed to disk (writes of one
 * turn of the event loop share a commit) and reject with BridgeError `store_unavailable` when they were not.
 */
export interface QueueStore {
  readonly media: MediaStore;
  readonly streams: StreamStore;
  readonly cardTexts: CardTexts;
  readonly indicators: IndicatorStore;
  /** Rejects with `internal` when the id, but not the key, is that of another entry, and with `queue_full` by `atMost`. */
  append(entry: NewEntry, conversation?: Conversation): Promise<Appended>;
  heads(queue: QueueName): LaneHead[];
  head(queue: QueueName, lane: string): LaneHead | undefined;
  /** The first open entries of a lane in order, at most `limit`. */
  front(queue: QueueName, lane: string, limit: number): LaneHead[];
  /** First open entries of lanes, those older than `before` and with a `seq` above `after`, in order of commit. */
  waitingSince(queue: QueueName, page: { before: number; after: number; limit: number }): Entry[];
  /** Messages of one sender accepted since `from`; those over the limit or withheld by DingTalk are not counted. */
  countOfSender(account: string, sender: string, from: number): number;
  /** What the outbox sent since `from` (epoch milliseconds), oldest first; a send without a known end counts as `now`. */
  recentSends(times: { from: number; now: number }): { lane: string; at: number }[];
  /** Marks an attempt as under way; undefined when the entry is not open any more. Nothing stops a second `begin`. */
  begin(seq: number): Promise<Entry | undefined>;
  /** `attempted`: what the attempt that ends came to, for the life of the message; undefined where none was made. */
  settle(seq: number, settlement: Settlement, attempted?: Outcome["kind"] | "crashed"): Promise<void>;
  /** DingTalk has its acknowledgement. Written with the next commit that comes, if one comes: it costs none of its own. */
  acked(seq: number, at: number): void;
  /** Open entries that are due later than `latest` (epoch milliseconds) are due then. */
  dueBy(queue: QueueName, latest: number): Promise<void>;
  deliverPart(seq: number, n: number, receipt: Receipt): Promise<void>;
  /** Cancels an open entry that no attempt has begun on and of which nothing was delivered. */
  cancel(queue: QueueName, id: string, at: number): Promise<boolean>;

  find(queue: QueueName, id: string): Entry | undefined;
  /** The entry that has this key: what `append` would take for its first. */
  repeated(queue: QueueName, key: string): Entry | undefined;
  parts(seq: number): Part[];
  /** The part that DingTalk gave this `processQueryKey`, as long as its entry is kept. */
  sentMessage(account: string, processQueryKey: string): SentPart | undefined;
  /** A delivered entry was taken back at DingTalk: cancelled, error `recalled`. False when it is not delivered (any more). */
  recalled(queue: "outbox", id: string, at: number): Promise<boolean>;

  /** Dead letters, newest first, after `before` (a `seq`). */
  deadLetters(options: { accounts?: string[]; limit: number; before?: number }): Entry[];
  /** Those that died after `at` (epoch milliseconds), the latest first, at most 1,000. */
  deadSince(at: number): Entry[];
  /** Opens a dead letter again, in order of its first commit; undefined when there is none of this id. */
  replay(queue: QueueName, id: string, at: number): Promise<Entry | undefined>;
  discard(queue: QueueName, id: string): Promise<boolean>;

  conversation(account: string, id: string): Conversation | undefined;
  directConversation(account: string, staffId: string): Conversation | undefined;
  /** Whether anybody is remembered who wrote to this account. */
  knowsConversations(account: string): boolean;

  counts(queue: QueueName): QueueCounts;
  /**
   * Deletes what is older than the retention, some thousand rows a commit, and gives spare room back to the disk; returns
   * how many entries, conversations, closed streams and indicators went. Open streams stay, and files: see `media.expire`.
   */
  purge(options: PurgeOptions): Promise<number>;
  /**
   * Takes what was said out of messages settled before then (epoch milliseconds), some thousand rows a commit; dead letters keep it.
   * `rows`: how many; `before`: how many were wiped as they were settled, since the last call.
   */
  wipe(settledBefore: number): Promise<{ rows: number; before: number }>;
  /**
   * Writes the file anew, without what deleted rows have left in unused places of it; the event loop stands still meanwhile. False when
   * it is larger than `atMostBytes`, or somebody else who reads it kept the log from being emptied. Throws what SQLite throws.
   */
  compact(options?: { atMostBytes: number }): boolean;
  /** What was overwritten in the file leaves the log too. False when somebody else who reads it kept it from that. */
  emptyLog(): boolean;
  /** Resolves when everything submitted so far is committed; then closes the file. */
  close(): Promise<void>;
}

/** Lane of a conversation; `\n` cannot occur in an account name. */
export function conversationLane(account: string, conversationId: string): string {
  return `${account}\n${conversationId}`;
}

/** Lane of a person whose direct conversation is not known yet. */
export function userLane(account: string, staffId: string): string {
  return `${account}\nuser:${staffId}`;
}

const CONTROL = "\ncontrol";

/** Lane beside a conversation's own, for what must not wait behind its messages (design §5, control lane). */
export function controlLane(lane: string): string {
  return `${lane}${CONTROL}`;
}

export function isControlLane(lane: string): boolean {
  return lane.endsWith(CONTROL);
}

/** Stands in a lane in place of the conversation, and of whom a message went to, where it was erased. */
export const ERASED = "erased";

const CARD = "card:";

/**
 * Lane of one live card: what is done to it never waits for the conversation's messages, nor they for it. `outTrackId` is the
 * bridge's own and never empty.
 */
export function cardLane(account: string, outTrackId: string): string {
  return `${account}\n${CARD}${outTrackId}`;
}

/**
 * The parts of a lane's name: `staffId` for a person whose conversation was not known; `outTrackId` for a card, whose lane is
 * no conversation's: `conversationId` is then "", which is nobody's.
 */
export function splitLane(lane: string): {
  account: string;
  conversationId: string;
  staffId: string | undefined;
  outTrackId: string | undefined;
} {
  const at = lane.indexOf("\n");
  const account = lane.slice(0, at);
  const rest = lane.slice(at + 1);
  if (rest.startsWith(CARD)) {
    return { account, conversationId: "", staffId: undefined, outTrackId: rest.slice(CARD.length) };
  }
  const conversationId = isControlLane(lane) ? rest.slice(0, -CONTROL.length) : rest;
  const staffId = conversationId.startsWith("user:") ? conversationId.slice("user:".length) : undefined;
  return { account, conversationId, staffId, outTrackId: undefined };
}
