import type { DatabaseSync } from "node:sqlite";
import type { GroupCommit } from "./group-commit.ts";

/** A thinking reaction of ours on somebody's message, to be taken back. */
export interface Indicator {
  account: string;
  /** DingTalk's id of the message that carries it. */
  msgId: string;
  conversationId: string;
  /** What it says: it is taken back by its words, which the settings may have changed since. */
  name: string;
  /** When it was put there; epoch milliseconds. */
  at: number;
}

/** Reactions that have not been taken back, in the file and the commits of the queues: a crash must not leave one for ever. */
export class IndicatorStore {
  readonly #commits: GroupCommit;
  readonly #sql: Record<"add" | "all" | "remove" | "purge", ReturnType<DatabaseSync["prepare"]>>;

  constructor(db: DatabaseSync, commits: GroupCommit) {
    this.#commits = commits;
    this.#sql = {
      add: db.prepare(`
        INSERT INTO indicators (account, msg_id, conversation_id, name, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET conversation_id = excluded.conversation_id, name = excluded.name, at = excluded.at`),
      all: db.prepare(`
        SELECT account, msg_id AS msgId, conversation_id AS conversationId, name, at FROM indicators
        WHERE ?1 IS NULL OR account = ?1 ORDER BY at, account, msg_id`),
      remove: db.prepare("DELETE FROM indicators WHERE account = ? AND msg_id = ?"),
      purge: db.prepare("DELETE FROM indicators WHERE at < ?"),
    };
  }

  add({ account, msgId, conversationId, name, at }: Indicator): Promise<void> {
    return this.#commits.submit(() => void this.#sql.add.run(account, msgId, conversationId, name, Math.trunc(at)));
  }

  /** Oldest first; of every account where none is named. */
  all(account?: string): Indicator[] {
    return this.#sql.all.all(account ?? null).map((row) => ({
      account: String(row["account"]),
      msgId: String(row["msgId"]),
      conversationId: String(row["conversationId"]),
      name: String(row["name"]),
      at: Number(row["at"]),
    }));
  }

  /** False when there was none. */
  remove(account: string, msgId: string): Promise<boolean> {
    return this.#commits.submit(() => this.#sql.remove.run(account, msgId).changes > 0);
  }

  /** Of accounts that are gone, say: inside a commit that another write has begun. */
  purgeNow(before: number): number {
    return Number(this.#sql.purge.run(before).changes);
  }
}
