import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { GroupCommit } from "./group-commit.ts";

/** Rows that one transaction changes. */
const BATCH = 2_000;
/** A settlement may be committed after a sweep that is later by its own time. */
const OVERLAP_MS = 60_000;
/** Up to this size a compaction works in memory; beyond it needs a temporary file as large as the database. */
const IN_MEMORY_BYTES = 256 * 1_024 * 1_024;
/** How long other readers of the file may keep a checkpoint waiting: the event loop waits with it. */
const PATIENCE_MS = 200;

/**
 * Takes what was said out of settled messages and leaves what later ones need: ids, keys, times, receipts. Dead letters keep all, because
 * they can be replayed.
 */
export class Wiper {
  readonly #commits: GroupCommit;
  readonly #sql: Record<"entry" | "parts" | "fetches" | "settled" | "streams", StatementSync>;
  /** Everything settled before was wiped. Epoch milliseconds. */
  #done = Number.NEGATIVE_INFINITY;

  constructor(db: DatabaseSync, commits: GroupCommit) {
    this.#commits = commits;
    this.#sql = {
      entry: db.prepare(`
        UPDATE entries SET wiped = 1, body = iif(queue = 'inbox', 'null', json_remove(body, '$.text'))
        WHERE seq = ? AND wiped = 0`),
      // The type says how it can be taken back, the name of a card what updates it.
      parts: db.prepare(`
        UPDATE parts SET body = json_object('type', json_extract(body, '$.type'), 'outTrackId', json_extract(body, '$.outTrackId'),
                                            'params', json_object(), 'wiped', json('true'))
        WHERE entry = ?`),
      fetches: db.prepare(`
        UPDATE media_fetches SET fetch = '{"path":[],"type":"file","downloadCode":""}' WHERE entry = ?`),
      settled: db.prepare(`
        SELECT seq FROM entries
        WHERE state <> 'open' AND state IN ('delivered', 'cancelled') AND settled_at >= :from AND settled_at < :before AND wiped = 0
        LIMIT ${BATCH}`),
      streams: db.prepare(`
        UPDATE streams SET text = '', shown_text = '' WHERE rowid IN (
          SELECT rowid FROM streams
          WHERE state = 'closed' AND closed_at >= :from AND closed_at < :before AND (text <> '' OR shown_text <> '')
          LIMIT ${BATCH})`),
    };
  }

  /** Inside a commit that another write has begun. False when nothing was left to take out. */
  entryNow(seq: number): boolean {
    if (this.#sql.entry.run(seq).changes === 0) return false;
    this.#sql.parts.run(seq);
    this.#sql.fetches.run(seq);
    return true;
  }

  /** Of all that was settled before then, some thousand rows a commit; how many rows were changed. */
  async sweep(before: number): Promise<number> {
    // A clock that was set back settles in what was swept already.
    const from = before < this.#done ? Number.NEGATIVE_INFINITY : this.#done - OVERLAP_MS;
    const range = { from: Math.max(from, Number.MIN_SAFE_INTEGER), before };
    let changed = 0;
    for (const batch of [() => this.#entries(range), () => Number(this.#sql.streams.run(range).changes)]) {
      let rows: number;
      do {
        rows = await this.#commits.submit(batch);
        changed += rows;
      } while (rows === BATCH);
    }
    this.#done = before;
    return changed;
  }

  #entries(range: { from: number; before: number }): number {
    const rows = this.#sql.settled.all(range);
    for (const { seq } of rows) this.entryNow(Number(seq));
    return rows.length;
  }
}

/**
 * Brings the write-ahead log into the file and empties it: what was overwritten in the one is still in the other until then. False
 * when another reader of the file kept it from that.
 */
export function emptyLog(db: DatabaseSync): boolean {
  const patience = Number(db.prepare("PRAGMA busy_timeout").get()?.["timeout"] ?? 0);
  db.exec(`PRAGMA busy_timeout = ${Math.min(patience, PATIENCE_MS)}`);
  try {
    return db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0;
  } finally {
    db.exec(`PRAGMA busy_timeout = ${patience}`);
  }
}

/**
 * Writes the whole file anew. SQLite overwrites what is deleted (`secure_delete`), but not the copies that stay behind when it moves
 * rows to another page: of 2,000 wiped messages 20 were found in the file afterwards. Takes about 5 ms for each megabyte, during which
 * nothing else runs. False when the log could not be emptied.
 */
export function compact(db: DatabaseSync): boolean {
  db.exec(`PRAGMA temp_store = ${sizeOf(db) <= IN_MEMORY_BYTES ? "MEMORY" : "DEFAULT"}`);
  db.exec("VACUUM");
  return emptyLog(db);
}

/** Bytes of the database. */
export function sizeOf(db: DatabaseSync): number {
  const pragma = (name: string): number => Number(db.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0);
  return pragma("page_count") * pragma("page_size");
}
