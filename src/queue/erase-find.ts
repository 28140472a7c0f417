import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { text } from "./rows.ts";
import { cardLane, controlLane, conversationLane, userLane } from "./store.ts";

/** Whose traces are looked for: a person by staffId (or DingTalk's encrypted id), or a conversation. */
export interface EraseTarget {
  kind: "user" | "conversation";
  id: string;
  /** Undefined: all of them. */
  account: string | undefined;
}

/** What belongs to somebody, and what of others names them: rows by their key. */
export interface Traces {
  /** Replies to them and what ended a card of theirs, `seq`. */
  replies: Set<number>;
  /** Messages from them, and whatever else was sent to them. */
  messages: Set<number>;
  /** Messages of others in which one of their ids stands. */
  others: Set<number>;
  /** Growing replies to them, `rowid`; and of others that name them. */
  streams: Set<number>;
  otherStreams: Set<number>;
  /** Conversations that are theirs alone. */
  conversations: { account: string; id: string }[];
  /** Ids by which they are known. */
  aliases: string[];
}

/** Rows that are looked through before the event loop gets its turn. */
const STEP = 5_000;
/** Characters that an id may go on with: `staff1` is not meant where `staff10` stands. */
const WORD = String.raw`[\p{L}\p{N}_-]`;
const SAID =
  "body || ifnull(error_detail, '') || ifnull(history, '') || ifnull(receipt, '') || key || ifnull(sender, '')";

/** Finds what is stored of somebody. Reads only. */
export class TraceFinder {
  readonly #db: DatabaseSync;
  readonly #repliesTo: StatementSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#repliesTo = db.prepare("SELECT seq FROM entries WHERE in_reply_to = ?");
  }

  async find(target: EraseTarget): Promise<Traces> {
    const conversations = this.#conversations(target);
    const lanes = this.#lanes(target, conversations);
    const messages = this.#messages(target, lanes);
    const ids = messages.map(({ id }) => id);
    const streams = this.#streams(lanes, ids);
    const own = messages.map(({ seq }) => seq);
    const replies = ids.flatMap((id) => this.#repliesTo.all(id).map(({ seq }) => Number(seq)));
    const encrypted = target.kind === "user" ? this.#encryptedIds(target, own) : [];
    const found: Traces = {
      replies: new Set([...replies, ...this.#inLanes(streams.map(({ lane }) => lane))]),
      messages: new Set(own),
      others: new Set(),
      streams: new Set(streams.map(({ rowid }) => rowid)),
      otherStreams: new Set(),
      conversations,
      aliases: [...new Set([target.id, ...encrypted, ...conversations.map(({ id }) => id)])],
    };
    for (const alias of found.aliases) await this.#named(alias, target.account, found);
    return found;
  }

  #conversations({ kind, id, account }: EraseTarget): { account: string; id: string }[] {
    const which = kind === "user" ? "staff_id = :id AND kind = 'direct'" : "id = :id";
    return this.#db
      .prepare(`SELECT account, id FROM conversations WHERE ${which} AND (:account IS NULL OR account = :account)`)
      .all({ id, account: account ?? null })
      .map((row) => ({ account: text(row["account"]), id: text(row["id"]) }));
  }

  #lanes({ kind, id, account }: EraseTarget, conversations: Traces["conversations"]): string[] {
    const accounts = account === undefined ? this.#accounts() : [account];
    const unknown = accounts.map((name) => (kind === "user" ? userLane(name, id) : conversationLane(name, id)));
    const known = conversations.map((one) => conversationLane(one.account, one.id));
    return [...unknown, ...known].flatMap((lane) => [lane, controlLane(lane)]);
  }

  #accounts(): string[] {
    return this.#db
      .prepare("SELECT DISTINCT account FROM entries")
      .all()
      .map(({ account }) => text(account));
  }

  #messages({ kind, id, account }: EraseTarget, lanes: readonly string[]): { seq: number; id: string }[] {
    const theirs = kind === "user" ? "sender = :id OR" : "";
    const values = { lanes: JSON.stringify(lanes), account: account ?? null, ...(kind === "user" && { id }) };
    return this.#db
      .prepare(`
        SELECT seq, id FROM entries
        WHERE (${theirs} lane IN (SELECT value FROM json_each(:lanes))) AND (:account IS NULL OR account = :account)`)
      .all(values)
      .map((row) => ({ seq: Number(row["seq"]), id: text(row["id"]) }));
  }

  #streams(lanes: readonly string[], ids: readonly string[]): { rowid: number; lane: string }[] {
    return this.#db
      .prepare(`
        SELECT rowid, account, out_track_id FROM streams
        WHERE lane IN (SELECT value FROM json_each(?)) OR in_reply_to IN (SELECT value FROM json_each(?))`)
      .all(JSON.stringify(lanes), JSON.stringify(ids))
      .map((row) => ({ rowid: Number(row["rowid"]), lane: cardLane(text(row["account"]), text(row["out_track_id"])) }));
  }

  #inLanes(lanes: readonly string[]): number[] {
    return this.#db
      .prepare("SELECT seq FROM entries WHERE queue = 'outbox' AND lane IN (SELECT value FROM json_each(?))")
      .all(JSON.stringify(lanes))
      .map(({ seq }) => Number(seq));
  }

  /** DingTalk's own id of the person, by which others' messages quote and mention them. */
  #encryptedIds({ id }: EraseTarget, own: readonly number[]): string[] {
    const body = this.#db.prepare(`
      SELECT json_extract(body, '$.data.senderId') AS id FROM entries WHERE seq = ? AND queue = 'inbox' AND sender = ?`);
    const found = own.flatMap((seq) => body.get(seq, id)?.["id"] ?? []);
    return [...new Set(found.filter((one) => typeof one === "string" && one !== ""))] as string[];
  }

  async #named(alias: string, account: string | undefined, found: Traces): Promise<void> {
    const word = new RegExp(`(?<!${WORD})${escaped(alias)}(?!${WORD})`, "u");
    const values = { alias, account: account ?? null };
    const mine = "(:account IS NULL OR account = :account)";
    const entries = this.#db.prepare(`
      SELECT seq, ${SAID} AS said FROM entries
      WHERE seq > :from AND seq <= :to AND instr(${SAID}, :alias) AND ${mine}`);
    const parts = this.#db.prepare(`
      SELECT entry AS seq, parts.body AS said FROM parts JOIN entries ON seq = entry
      WHERE entry > :from AND entry <= :to AND instr(parts.body, :alias) AND ${mine}`);
    const last = Number(this.#db.prepare("SELECT max(seq) AS last FROM entries").get()?.["last"] ?? 0);
    for (let from = 0; from < last; from += STEP) {
      const range = { ...values, from, to: from + STEP };
      for (const { seq, said } of [...entries.all(range), ...parts.all(range)]) {
        const isOwn = found.messages.has(Number(seq)) || found.replies.has(Number(seq));
        if (!isOwn && word.test(text(said))) found.others.add(Number(seq));
      }
      await setImmediate();
    }
    const streams = this.#db.prepare(`
      SELECT rowid, target || ' ' || text || ' ' || shown_text AS said FROM streams
      WHERE instr(target || ' ' || text || ' ' || shown_text, :alias) AND ${mine}`);
    for (const { rowid, said } of streams.all(values)) {
      if (word.test(text(said)) && !found.streams.has(Number(rowid))) found.otherStreams.add(Number(rowid));
    }
  }
}

const escaped = (id: string): string => id.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`);
