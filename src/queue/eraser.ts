import type { DatabaseSync, StatementSync } from "node:sqlite";
import { type EraseTarget, TraceFinder, type Traces } from "./erase-find.ts";
import type { GroupCommit } from "./group-commit.ts";
import { text } from "./rows.ts";
import { ERASED, type QueueName } from "./store.ts";

/** What was deleted, by kind. */
export interface Erased {
  /** Messages from them. */
  messages: number;
  /** Messages to them, whoever sent them. */
  replies: number;
  /** Replies that grew. */
  streams: number;
  /** Of both: those that had not been delivered and can no longer be replayed. */
  deadLetters: number;
  /** Of both: those that were waiting, and go nowhere now. */
  cancelled: number;
  /** What was said in messages of others that named them. */
  others: number;
  conversations: number;
}

/** Messages of theirs are not finished: nothing was deleted. */
export interface Unfinished {
  /** That wait. */
  waiting: number;
  /** That are under way, or cards that have to come to an end. */
  underWay: number;
}

export interface Erasure {
  erased: Erased;
  /** Of stored files that nobody else needs: to be removed. */
  media: string[];
  /** Where something that waited was taken out. */
  lanes: { queue: QueueName; lane: string }[];
  /** Outbox messages that go nowhere now. */
  cancelled: string[];
  /** Messages of others that name them and are not finished: left as they are. */
  left: number;
}

/** Rows that one transaction changes. */
const BATCH = 1_000;
const CARD_FINISH = "card.finish";

/** Deletes what is stored of a person or of a conversation; ids and keys stay, so that a repetition is still recognised. */
export class Eraser {
  readonly #db: DatabaseSync;
  readonly #commits: GroupCommit;
  readonly #sql: Record<
    "find" | "erase" | "parts" | "fetches" | "uses" | "fetched" | "used" | "stream" | "otherStream",
    StatementSync
  >;

  constructor(db: DatabaseSync, commits: GroupCommit) {
    this.#db = db;
    this.#commits = commits;
    this.#sql = {
      find: db.prepare("SELECT seq, queue, id, lane, kind, state, begun FROM entries WHERE seq = ?"),
      // An erased dead letter is none any more: it could not be tried again.
      erase: db.prepare(`
        UPDATE entries SET body = iif(queue = 'inbox', 'null', '{"to":"${ERASED}"}'), lane = account || char(10) || '${ERASED}', sender = NULL,
               digest = NULL, receipt = NULL, history = NULL, wiped = 1, error_detail = NULL,
               error_code = iif(state IN ('open', 'dead'), 'erased', error_code),
               settled_at = ifnull(settled_at, :at), state = iif(state IN ('open', 'dead'), 'cancelled', state),
               key = iif(EXISTS (SELECT 1 FROM json_each(:aliases) WHERE instr(key, value)), 'erased:' || seq, key)
        WHERE seq = :seq`),
      parts: db.prepare("DELETE FROM parts WHERE entry = ?"),
      fetched: db.prepare("SELECT media FROM media_fetches WHERE entry = ? AND media IS NOT NULL"),
      used: db.prepare("SELECT media FROM media_uses WHERE entry = ?"),
      fetches: db.prepare("DELETE FROM media_fetches WHERE entry = ?"),
      uses: db.prepare("DELETE FROM media_uses WHERE entry = ?"),
      stream: db.prepare("DELETE FROM streams WHERE rowid = ? AND state = 'closed'"),
      otherStream: db.prepare("UPDATE streams SET text = '', shown_text = '' WHERE rowid = ? AND state = 'closed'"),
    };
  }

  /**
   * What is not finished is refused, or with `openToo` taken out as far as no attempt is under way. In several commits: after a crash
   * it is to be called again.
   */
  async erase(target: EraseTarget, options: { openToo: boolean; at: number }): Promise<Erasure | Unfinished> {
    const traces = await new TraceFinder(this.#db).find(target);
    const state: Working = {
      aliases: JSON.stringify(traces.aliases),
      at: options.at,
      media: new Set(),
      erasure: { erased: nothing(), media: [], lanes: [], cancelled: [], left: 0 },
    };
    const unfinished = await this.#commits.submit(() => this.#takeOpen(traces, options.openToo, state));
    if (unfinished) return unfinished;
    // What the rest is found by goes last, so that after a crash all of it is found again.
    await this.#inBatches(traces.others, (seq) => this.#entry(seq, state, "others"));
    await this.#inBatches(traces.otherStreams, (rowid) => {
      const done = Number(this.#sql.otherStream.run(rowid).changes);
      state.erasure.erased.others += done;
      state.erasure.left += 1 - done;
    });
    await this.#inBatches(traces.replies, (seq) => this.#entry(seq, state, "own"));
    await this.#inBatches(traces.streams, (rowid) => {
      state.erasure.erased.streams += Number(this.#sql.stream.run(rowid).changes);
    });
    await this.#inBatches(traces.messages, (seq) => this.#entry(seq, state, "own"));
    await this.#commits.submit(() => this.#rest(traces, state));
    return state.erasure;
  }

  /** Before anything is deleted, what waits is taken out in one commit: nothing of it may begin meanwhile. */
  #takeOpen({ messages, replies, streams }: Traces, openToo: boolean, state: Working): Unfinished | undefined {
    const open = [...new Set([...messages, ...replies])]
      .map((seq) => this.#sql.find.get(seq))
      .filter((row) => row?.["state"] === "open");
    const growing = this.#growing([...streams]);
    const busy = open.filter((row) => row?.["begun"] === 1 || row?.["kind"] === CARD_FINISH);
    const underWay = busy.length + growing;
    if (open.length + growing === 0) return undefined;
    if (!openToo || underWay > 0) return { waiting: open.length - busy.length, underWay };
    for (const row of open) {
      const [queue, lane] = [text(row?.["queue"]) as QueueName, text(row?.["lane"])];
      if (!state.erasure.lanes.some((one) => one.queue === queue && one.lane === lane)) {
        state.erasure.lanes.push({ queue, lane });
      }
      if (queue === "outbox") state.erasure.cancelled.push(text(row?.["id"]));
      state.erasure.erased.cancelled += 1;
      this.#entry(Number(row?.["seq"]), state, "own");
    }
    return undefined;
  }

  #growing(rowids: readonly number[]): number {
    const row = this.#db
      .prepare("SELECT count(*) AS n FROM streams WHERE state = 'open' AND rowid IN (SELECT value FROM json_each(?))")
      .get(JSON.stringify(rowids));
    return Number(row?.["n"]);
  }

  #entry(seq: number, state: Working, whose: "own" | "others"): void {
    const { erased } = state.erasure;
    const row = this.#sql.find.get(seq);
    if (!row) return;
    if (whose === "others" && row["state"] === "open") {
      state.erasure.left += 1;
      return;
    }
    // Again, because what waited was erased as it was taken out.
    if (!text(row["lane"]).endsWith(`\n${ERASED}`)) {
      if (whose === "others") erased.others += 1;
      else if (row["queue"] === "inbox") erased.messages += 1;
      else erased.replies += 1;
      if (row["state"] === "dead") erased.deadLetters += 1;
    }
    for (const { media } of [...this.#sql.fetched.all(seq), ...this.#sql.used.all(seq)]) state.media.add(text(media));
    this.#sql.erase.run({ seq, at: state.at, aliases: state.aliases });
    for (const statement of [this.#sql.parts, this.#sql.fetches, this.#sql.uses]) statement.run(seq);
  }

  #rest({ conversations }: Traces, state: Working): void {
    const p = (sql: string) => this.#db.prepare(sql);
    const [conversation, indicators] = [
      p("DELETE FROM conversations WHERE account = ? AND id = ?"),
      p("DELETE FROM indicators WHERE account = ? AND conversation_id = ?"),
    ];
    for (const { account, id } of conversations) {
      state.erasure.erased.conversations += Number(conversation.run(account, id).changes);
      indicators.run(account, id);
    }
    const remove = p(`
      DELETE FROM media WHERE id = ?1
        AND NOT EXISTS (SELECT 1 FROM media_fetches WHERE media = ?1) AND NOT EXISTS (SELECT 1 FROM media_uses WHERE media = ?1)
      RETURNING account, sha256`);
    const forget = p(`
      DELETE FROM media_uploads WHERE account = ?1 AND sha256 = ?2
        AND NOT EXISTS (SELECT 1 FROM media WHERE account = ?1 AND sha256 = ?2)`);
    for (const id of state.media) {
      const row = remove.get(id);
      if (!row) continue;
      forget.run(text(row["account"]), text(row["sha256"]));
      state.erasure.media.push(id);
    }
  }

  async #inBatches(all: ReadonlySet<number>, work: (key: number) => void): Promise<void> {
    const keys = [...all];
    for (let from = 0; from < keys.length; from += BATCH) {
      await this.#commits.submit(() => {
        for (const key of keys.slice(from, from + BATCH)) work(key);
      });
    }
  }
}

interface Working {
  /** JSON. */
  aliases: string;
  at: number;
  media: Set<string>;
  erasure: Erasure;
}

const nothing = (): Erased => ({
  messages: 0,
  replies: 0,
  streams: 0,
  deadLetters: 0,
  cancelled: 0,
  others: 0,
  conversations: 0,
});
