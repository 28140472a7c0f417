import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";
import type { MediaStore } from "./media-store.ts";
import type { QuotaStore } from "./quota-store.ts";
import type { Statements } from "./statements.ts";
import {
  type Appended,
  type Conversation,
  type EntryState,
  type NewEntry,
  conversationLane,
  splitLane,
  userLane,
} from "./store.ts";

/** An entry whose JSON is made: what is no JSON is the caller's error, before it can be anybody else's. */
export interface Prepared {
  entry: NewEntry;
  body: string;
  parts: string[];
}

/**
 * Writes entries with all that comes with them, inside a commit that somebody else has begun: nothing here may await, and all of it
 * may be run again (see GroupCommit). What it refuses it returns, because an error thrown inside a commit undoes and repeats what
 * others put into it.
 */
export class Appender {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;
  readonly #quota: QuotaStore;
  readonly #media: MediaStore;

  constructor(options: { db: DatabaseSync; sql: Statements; quota: QuotaStore; media: MediaStore }) {
    this.#db = options.db;
    this.#sql = options.sql;
    this.#quota = options.quota;
    this.#media = options.media;
  }

  prepare(entry: NewEntry): Prepared {
    return {
      entry,
      body: JSON.stringify(entry.body),
      parts: entry.parts?.map((part) => JSON.stringify(part)) ?? [],
    };
  }

  /** See `QueueStore.append`. A refusal has written nothing. */
  now({ entry, body, parts }: Prepared, conversation?: Conversation): Appended | BridgeError {
    const lane = this.laneNow(entry);
    const full = entry.atMost && this.#full({ ...entry, lane }, entry.atMost);
    if (full) return full;
    const final = entry.dead ?? entry.cancelled;
    const inserted = this.#sql.insert.get({
      queue: entry.queue,
      id: entry.id,
      key: entry.key,
      account: entry.account,
      lane,
      kind: entry.kind,
      body,
      digest: entry.digest ?? null,
      at: entry.createdAt,
      state: stateOf(entry),
      settledAt: final ? entry.createdAt : null,
      errorCode: final?.code ?? null,
      errorDetail: final?.detail ?? null,
      sender: entry.sender ?? null,
      inReplyTo: entry.inReplyTo ?? null,
    });
    if (!inserted) return this.#repeated(entry);
    if (entry.usage) this.#quota.addNow(entry.usage);
    const seq = Number(inserted["seq"]);
    for (const [n, part] of parts.entries()) this.#sql.insertPart.run(seq, n, part);
    this.#media.appendNow(seq, entry.fetches, entry.media);
    const merged = conversation && this.#seen(conversation);
    const cancelled = entry.cancels && this.#cancelOf(entry.cancels.lane, entry);
    return {
      seq,
      id: entry.id,
      lane,
      duplicate: false,
      digest: entry.digest,
      ...(merged && { merged }),
      ...(cancelled !== undefined && { cancelled }),
    };
  }

  /** Files that an entry uses besides those that it was appended with. */
  use(seq: number, media: readonly string[] | undefined): void {
    this.#media.appendNow(seq, undefined, media);
  }

  /** `change` and all the entries, or nothing of it; false when `change` says that there is nothing to change. */
  allOrNothing(entries: readonly Prepared[], change: () => boolean): Appended[] | BridgeError | false {
    this.#db.exec("SAVEPOINT all_or_nothing");
    const result = change() && this.#all(entries);
    if (result instanceof BridgeError) this.#db.exec("ROLLBACK TO all_or_nothing");
    this.#db.exec("RELEASE all_or_nothing");
    return result;
  }

  #all(entries: readonly Prepared[]): Appended[] | BridgeError {
    const all: Appended[] = [];
    for (const prepared of entries) {
      const appended = this.now(prepared);
      if (appended instanceof BridgeError) return appended;
      all.push(appended);
    }
    return all;
  }

  /** Looked up in the commit itself: the person's first message may be in the same one. */
  laneNow({ queue, lane }: Pick<NewEntry, "queue" | "lane">): string {
    const { account, staffId } = splitLane(lane);
    const direct = queue === "outbox" && staffId !== undefined ? this.#sql.direct.get(account, staffId) : undefined;
    return direct ? conversationLane(account, String(direct["id"])) : lane;
  }

  #full({ queue, lane, key }: NewEntry, atMost: { lane: number; queue: number }): BridgeError | undefined {
    const laneFull = this.#sql.laneHas.get(queue, lane, atMost.lane - 1) !== undefined;
    if (!laneFull && Number(this.#sql.openCount.get(queue)?.["n"] ?? 0) < atMost.queue) return undefined;
    if (this.#sql.byKey.get(queue, key)) return undefined;
    const what = laneFull ? `${atMost.lane} messages to this conversation wait` : `${atMost.queue} messages wait`;
    return new BridgeError("queue_full", `${what} already; try again later`, {
      retryable: true,
      mend: "the log and GET /v1/status say why messages wait; DELETE /v1/messages/:id takes one back",
    });
  }

  #cancelOf(lane: string, by: NewEntry): number {
    const who = { lane, sender: by.sender ?? null };
    const ended = this.#sql.cancelOf.run({ ...who, at: by.createdAt }).changes;
    return Number(ended) + Number(this.#sql.stopOf.run(who).changes);
  }

  #repeated(entry: NewEntry): Appended | BridgeError {
    const first = this.#sql.byKey.get(entry.queue, entry.key);
    // The id clashed but not the key: two different things claim one public id, which no caller may do.
    if (!first)
      return new BridgeError("internal", `the id ${entry.id} is taken by another entry of the ${entry.queue}`);
    const digest = first["digest"];
    return {
      seq: Number(first["seq"]),
      id: String(first["id"]),
      lane: String(first["lane"]),
      duplicate: true,
      digest: typeof digest === "string" ? digest : undefined,
    };
  }

  #seen(conversation: Conversation): { from: string; to: string } | undefined {
    const { account, id, kind, staffId, webhook } = conversation;
    this.#sql.seen.run({
      account,
      id,
      kind,
      title: conversation.title ?? null,
      staffId: staffId ?? null,
      webhook: webhook?.url ?? null,
      webhookExpiresAt: webhook?.expiresAt ?? null,
      lastSeen: conversation.lastSeen,
    });
    if (kind !== "direct" || staffId === undefined) return undefined;
    const [from, to] = [userLane(account, staffId), conversationLane(account, id)];
    this.#sql.mergeStreams.run({ from, to });
    return this.#sql.mergeLane.run({ from, to }).changes > 0 ? { from, to } : undefined;
  }
}

function stateOf(entry: NewEntry): EntryState {
  if (entry.dead) return "dead";
  return entry.cancelled ? "cancelled" : "open";
}
