import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";
import type { Appender } from "./appender.ts";
import type { GroupCommit } from "./group-commit.ts";
import type { Row } from "./rows.ts";
import type { Appended, NewEntry } from "./store.ts";

/**
 * `afterCard` in the body of an outbox message that goes below the card of its reply. `waits`: nothing of it is sent, because the
 * card's end decides what it says. `leads`: the card cannot show its text, which the message says first. `follows`: the card has it.
 */
export interface AfterCard {
  streamId: string;
  state: "waits" | "leads" | "follows";
}

const STATE = "json_extract(body, '$.afterCard.state')";

/** The text of a card and the message that goes below it, in the order in which a person has to read them. */
export class CardTexts {
  readonly #commits: GroupCommit;
  readonly #appender: Appender;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: DatabaseSync, commits: GroupCommit, appender: Appender) {
    this.#commits = commits;
    this.#appender = appender;
    this.#sql = prepare(db);
  }

  /**
   * The text of a card as a message: at the head of the first of `waiting` (keys) that waits for the card's end, else `entry` as it
   * is. Once, however often it is asked for: `duplicate` then. Undefined, and nothing is written, while an attempt at the entry
   * with the key `unlessBegun` is under way. Rejects like `QueueStore.append`.
   */
  async instead(
    entry: NewEntry,
    waiting: readonly string[],
    unlessBegun?: string,
  ): Promise<Pick<Appended, "seq" | "id" | "lane" | "duplicate"> | undefined> {
    const prepared = this.#appender.prepare(entry);
    const done = await this.#commits.submit(() => {
      if (unlessBegun !== undefined && this.#sql.begun.get(unlessBegun)) return undefined;
      const own = this.#sql.byKey.get(entry.key);
      if (own) return { ...named(own), duplicate: true };
      const rows = waiting.map((key) => this.#sql.byKey.get(key)).filter((row) => row !== undefined);
      const led = rows.find(({ after }) => after === "leads");
      if (led) return { ...named(led), duplicate: true };
      const row = rows.find(({ after, state }) => after === "waits" && state === "open");
      if (!row) return this.#appender.now(prepared);
      const waits = named(row);
      this.#lead(waits.seq, prepared.parts, entry);
      return { ...waits, duplicate: false };
    });
    // Thrown after the commit: thrown inside, it would undo and repeat what others put into it.
    if (done instanceof BridgeError) throw done;
    return done;
  }

  /** The card has its text: what waited says no more than its own. False when it does not wait (any more). */
  follow(seq: number): Promise<boolean> {
    return this.#commits.submit(() => this.#sql.mark.run({ seq, state: "follows" }).changes > 0);
  }

  #lead(seq: number, parts: readonly string[], { media }: NewEntry): void {
    this.#sql.mark.run({ seq, state: "leads" });
    // In two steps: a number that another part still has is refused.
    this.#sql.aside.run({ seq });
    this.#sql.behind.run({ seq, by: parts.length });
    for (const [n, part] of parts.entries()) this.#sql.insertPart.run({ seq, n, part });
    this.#appender.use(seq, media);
  }
}

function named(row: Row): { seq: number; id: string; lane: string } {
  return { seq: Number(row["seq"]), id: String(row["id"]), lane: String(row["lane"]) };
}

function prepare(db: DatabaseSync) {
  const p = (sql: string) => db.prepare(sql);
  return {
    byKey: p(`SELECT seq, id, lane, state, ${STATE} AS after FROM entries WHERE queue = 'outbox' AND key = ?`),
    begun: p("SELECT 1 FROM entries WHERE queue = 'outbox' AND key = ? AND begun = 1"),
    mark: p(`
      UPDATE entries SET body = json_set(body, '$.afterCard.state', :state)
      WHERE seq = :seq AND state = 'open' AND ${STATE} = 'waits'`),
    aside: p("UPDATE parts SET n = -1 - n WHERE entry = :seq"),
    behind: p("UPDATE parts SET n = :by - 1 - n WHERE entry = :seq"),
    insertPart: p("INSERT INTO parts (entry, n, body) VALUES (:seq, :n, :part)"),
  };
}
