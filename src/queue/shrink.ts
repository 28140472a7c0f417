import type { DatabaseSync } from "node:sqlite";
import type { GroupCommit } from "./group-commit.ts";

/** Pages that one transaction gives back: some 10 ms of the event loop. */
const BATCH = 1_000;
/** Free pages that are kept for what comes next, where a quarter of the file is less: 16 MB. */
const SPARE_PAGES = 4_096;

/**
 * Gives room that deletes have left inside the file back to the disk. The store would use it again, but nobody else
 * can have it, and who watches the disk's free space does not see it. Needs `auto_vacuum = INCREMENTAL`.
 */
export async function shrink(db: DatabaseSync, commits: GroupCommit): Promise<void> {
  const pages = (name: "freelist_count" | "page_count"): number =>
    Number(db.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0);
  for (let before = Infinity, free = pages("freelist_count"); free < before; free = pages("freelist_count")) {
    if (free <= Math.max(SPARE_PAGES, pages("page_count") / 4)) break;
    before = free;
    await commits.submit(() => db.exec(`PRAGMA incremental_vacuum(${BATCH})`));
  }
  // The file gets shorter at a checkpoint; while little is written none comes by itself.
  db.exec("PRAGMA wal_checkpoint(PASSIVE)");
}
