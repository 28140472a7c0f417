import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";
import { openReadOnly } from "./read-only.ts";
import { type Row, optional, text, toEntry, toPart } from "./rows.ts";
import { SCHEMA_VERSION } from "./schema.ts";
import { type Entry, type Part, conversationLane, userLane } from "./store.ts";
import { type StreamRow, toStream } from "./stream-store.ts";

/** One attempt at an entry. Times in epoch milliseconds. */
export interface Attempted {
  at: number | undefined;
  /** How long it took; undefined when its end is not known. */
  ms: number | undefined;
  /** As domain/outcome.ts has it, or `crashed`, `interrupted`. */
  outcome: string;
  code: string | undefined;
  detail: string | undefined;
}

/** An entry with its life. What an earlier release stored has no more than the entry itself. */
export interface Life extends Entry {
  sender: string | undefined;
  inReplyTo: string | undefined;
  storedAt: number | undefined;
  ackedAt: number | undefined;
  /** Begin of the attempt that is under way, or was the last. */
  begunAt: number | undefined;
  /** Oldest first; of many the first and the last ten. */
  history: Attempted[];
}

/** A person or a conversation, as callers name them; undefined accounts: any. */
export interface Whose {
  kind: "user" | "conversation";
  id: string;
}

/** Rows whose body is looked at in no index: the newest of them are enough. */
const BY_SEQ = "ORDER BY seq DESC LIMIT :limit";
/** A message from outside: what came in, and what went out unasked. */
const ROOT = "(queue = 'inbox' OR in_reply_to IS NULL)";

/**
 * What the store knows of messages that came and went, for people who ask: reads a data directory that another process may be writing
 * to, and changes nothing.
 */
export class LifeReader implements Disposable {
  readonly #db: DatabaseSync;

  /**
   * Undefined when there is no database. Throws BridgeError `schema_newer` and `schema_older`, and what SQLite throws when the file
   * cannot be read.
   */
  static open(directory: string): LifeReader | undefined {
    const db = openReadOnly(directory);
    if (!db) return undefined;
    try {
      requireSchema(db);
      return new LifeReader(db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Newest first: messages from outside, without the replies to them. */
  last(limit: number): Life[] {
    return this.#all(`SELECT * FROM entries WHERE ${ROOT} ${BY_SEQ}`, { limit });
  }

  /** Newest first: what a person wrote, or what was said in a conversation, and what was sent there unasked. */
  of({ kind, id }: Whose, limit: number): Life[] {
    const lanes = this.#accounts().flatMap((account) =>
      kind === "user" ? [userLane(account, id), ...this.#direct(account, id)] : [conversationLane(account, id)],
    );
    const inLanes = "lane IN (SELECT value FROM json_each(:lanes))";
    const theirs = kind === "user" ? `(sender = :id OR (queue = 'outbox' AND ${inLanes}))` : inLanes;
    const named = kind === "user" ? { id } : {};
    const sql = `SELECT * FROM entries WHERE ${ROOT} AND ${theirs} ${BY_SEQ}`;
    return this.#all(sql, { ...named, lanes: JSON.stringify(lanes), limit });
  }

  /** Newest first. */
  deadLetters(): Entry[] {
    return this.#all("SELECT * FROM entries WHERE state = 'dead' ORDER BY seq DESC", {});
  }

  /** By the id of the envelope or of the message, or by DingTalk's own id of it. One in each account at most. */
  byId(id: string): Life[] {
    const exact = this.#all("SELECT * FROM entries WHERE id = :id", { id });
    if (exact.length > 0) return exact;
    const ids = JSON.stringify(this.#accounts().map((account) => `${account}:${id}`));
    return this.#all(
      "SELECT * FROM entries WHERE queue = 'inbox' AND id IN (SELECT value FROM json_each(:ids)) ORDER BY seq",
      { ids },
    );
  }

  /** What was sent because of an envelope, in order. */
  repliesTo(envelopeId: string): Life[] {
    return this.#all("SELECT * FROM entries WHERE in_reply_to = :envelopeId ORDER BY seq", { envelopeId });
  }

  streamsOf(envelopeId: string): StreamRow[] {
    return this.#db.prepare("SELECT * FROM streams WHERE in_reply_to = ? ORDER BY rowid").all(envelopeId).map(toStream);
  }

  stream(id: string): StreamRow | undefined {
    const row = this.#db.prepare("SELECT * FROM streams WHERE id = ?").get(id);
    return row && toStream(row);
  }

  parts(seq: number): Part[] {
    return this.#db.prepare("SELECT * FROM parts WHERE entry = ? ORDER BY n").all(seq).map(toPart);
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #all(sql: string, values: Record<string, string | number>): Life[] {
    return this.#db.prepare(sql).all(values).map(toLife);
  }

  /** Those that have written or were written to, configured or not. */
  #accounts(): string[] {
    return this.#db
      .prepare("SELECT DISTINCT account FROM entries UNION SELECT DISTINCT account FROM conversations")
      .all()
      .map(({ account }) => text(account));
  }

  #direct(account: string, staffId: string): string[] {
    return this.#db
      .prepare("SELECT id FROM conversations WHERE account = ? AND staff_id = ? AND kind = 'direct'")
      .all(account, staffId)
      .map(({ id }) => conversationLane(account, text(id)));
  }
}

function requireSchema(db: DatabaseSync): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version === SCHEMA_VERSION) return;
  const newer = version > SCHEMA_VERSION;
  throw new BridgeError(
    newer ? "schema_newer" : "schema_older",
    `the data directory is of ${newer ? "a newer" : "an older"} release (schema ${version}, this release has ${SCHEMA_VERSION})`,
    {
      mend: newer
        ? "use the program of the release that runs"
        : "start this release's bridge once: dingtalk-bridge start",
    },
  );
}

const time = (value: Row[string] | undefined): number | undefined => (typeof value === "number" ? value : undefined);

function toLife(row: Row): Life {
  return {
    ...toEntry(row),
    sender: optional(row["sender"]),
    inReplyTo: optional(row["in_reply_to"]),
    storedAt: time(row["stored_at"]),
    ackedAt: time(row["acked_at"]),
    begunAt: time(row["begun_at"]),
    history: toHistory(row["history"]),
  };
}

function toHistory(value: Row[string] | undefined): Attempted[] {
  if (typeof value !== "string") return [];
  const rows = JSON.parse(value) as { at?: number; ms?: number; outcome: string; code?: string; detail?: string }[];
  return rows.map(({ at, ms, outcome, code, detail }) => ({
    at: at ?? undefined,
    ms: ms ?? undefined,
    outcome,
    code: code ?? undefined,
    detail: detail ?? undefined,
  }));
}
