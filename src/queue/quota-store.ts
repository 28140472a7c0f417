import type { DatabaseSync } from "node:sqlite";
import type { Budget, QuotaClass } from "../domain/quota.ts";
import type { GroupCommit } from "./group-commit.ts";
import { openReadOnly } from "./read-only.ts";

/** One thing that DingTalk counts against a robot's organisation. */
export interface Usage {
  robot: string;
  /** `2026-11`, in Asia/Shanghai. */
  month: string;
  class: QuotaClass;
  /** Epoch milliseconds. */
  at: number;
}

/** DingTalk refused a robot for want of quota. */
export interface Closure {
  robot: string;
  budget: Budget;
  /** Epoch milliseconds of the first and the latest refusal. */
  since: number;
  refusedAt: number;
  detail: string;
}

/** What the store knows about one month. */
export interface QuotaRows {
  usage: { robot: string; class: string; n: number }[];
  organisations: { robot: string; organisation: string }[];
  closures: Closure[];
  /** When anything was first counted for each robot, in any month. */
  firstAt: { robot: string; at: number }[];
}

const READ = {
  usage: "SELECT robot, class, n FROM quota_usage WHERE month = ?",
  organisations: "SELECT robot, organisation FROM quota_robots",
  closures: "SELECT robot, budget, since, refused_at AS refusedAt, detail FROM quota_closed",
  firstAt: "SELECT robot, min(first_at) AS at FROM quota_usage GROUP BY robot",
};

function readRows(db: DatabaseSync, month: string): QuotaRows {
  const all = (sql: string, ...values: string[]): unknown[] => db.prepare(sql).all(...values);
  return {
    usage: all(READ.usage, month),
    organisations: all(READ.organisations),
    closures: all(READ.closures),
    firstAt: all(READ.firstAt),
  } as QuotaRows;
}

/**
 * Use by robot, month and class, in the file and the commits of the queues, so that a send costs no fsync more. Rows are by robot and
 * not by organisation, because a robot's organisation is known only after its first message: nothing has to be moved then.
 */
export class QuotaStore {
  readonly #commits: GroupCommit;
  readonly #sql: Record<"add" | "learn" | "close" | "reopen", ReturnType<DatabaseSync["prepare"]>>;
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync, commits: GroupCommit) {
    this.#db = db;
    this.#commits = commits;
    this.#sql = {
      add: db.prepare(`
        INSERT INTO quota_usage (robot, month, class, n, first_at) VALUES (?, ?, ?, 1, ?)
        ON CONFLICT (robot, month, class) DO UPDATE SET n = n + 1`),
      learn: db.prepare(`
        INSERT INTO quota_robots (robot, organisation) VALUES (?, ?)
        ON CONFLICT (robot) DO UPDATE SET organisation = excluded.organisation`),
      close: db.prepare(`
        INSERT INTO quota_closed (robot, budget, since, refused_at, detail) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (robot, budget) DO UPDATE SET since = excluded.since, refused_at = excluded.refused_at, detail = excluded.detail`),
      reopen: db.prepare("DELETE FROM quota_closed WHERE robot = ? AND budget = ?"),
    };
  }

  read(month: string): QuotaRows {
    return readRows(this.#db, month);
  }

  /** Counts inside a commit that another write has begun. */
  addNow({ robot, month, class: name, at }: Usage): void {
    this.#sql.add.run(robot, month, name, at);
  }

  add(usage: readonly Usage[]): Promise<void> {
    return this.#commits.submit(() => {
      for (const one of usage) this.addNow(one);
    });
  }

  learn(robot: string, organisation: string): Promise<void> {
    return this.#commits.submit(() => void this.#sql.learn.run(robot, organisation));
  }

  close({ robot, budget, since, refusedAt, detail }: Closure): Promise<void> {
    return this.#commits.submit(() => void this.#sql.close.run(robot, budget, since, refusedAt, detail));
  }

  reopen(robots: readonly string[], budget: Budget): Promise<void> {
    return this.#commits.submit(() => {
      for (const robot of robots) this.#sql.reopen.run(robot, budget);
    });
  }
}

/**
 * The same from a data directory that this process does not own, without changing anything in it. Undefined when there is no
 * database, or one of a release that did not count. Throws what SQLite throws when the file cannot be read.
 */
export function readQuotaFile(directory: string, month: string): QuotaRows | undefined {
  const db = openReadOnly(directory);
  if (!db) return undefined;
  try {
    const counted = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'quota_usage'").get();
    return counted ? readRows(db, month) : undefined;
  } finally {
    db.close();
  }
}
