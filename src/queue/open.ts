import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { unusable } from "../ops/disk.ts";
import { DATABASE } from "./read-only.ts";
import { backUp, migrate } from "./schema.ts";
import { prepareStatements, type Statements } from "./statements.ts";

/** The WAL goes back to this size when a reader from outside, or a long transaction, has made it grow. */
const WAL_BYTES = 32 * 1024 * 1024;

export interface OpenOptions {
  directory: string;
  /** Lets a caller keep the handle, to make real failures of the file happen. */
  openFile?: (file: string) => DatabaseSync;
}

/**
 * Opens or creates `bridge.db`, in the current schema, with what the last process left under way counted as `interrupted`. Throws
 * BridgeError `schema_newer`, `data_dir_unusable`, or `store_unavailable` on a full disk.
 */
export function openDatabase({ directory, openFile }: OpenOptions): {
  db: DatabaseSync;
  sql: Statements;
  interrupted: number;
} {
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = join(directory, DATABASE);
    const opened = openFile?.(file) ?? new DatabaseSync(file, { timeout: 5_000 });
    db = opened;
    chmodSync(file, 0o600);
    // auto_vacuum takes effect in a new file only, and only before its first page is written.
    db.exec(`
      PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = ${WAL_BYTES}`);
    migrate(db, (version) => backUp(opened, join(directory, `bridge.schema-${version}.backup.db`)));
    const sql = prepareStatements(db);
    return { db, sql, interrupted: Number(sql.crashed.run().changes) };
  } catch (thrown) {
    db?.close();
    if (thrown instanceof BridgeError) throw thrown;
    throw unusable(directory, coerceError(thrown));
  }
}
