import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { unusable } from "./disk.ts";

const SQLITE_BUSY = 5;

/**
 * One owner per data directory: an exclusive SQLite transaction on `bridge.lock`, which the operating system frees
 * when the process dies, `kill -9` included. The handle must stay referenced: a collected handle frees the lock (seen).
 */
export class DataDirectoryLock {
  readonly #db: DatabaseSync;

  /** Throws BridgeError `data_dir_locked` when another process has it, `data_dir_unusable` or `store_unavailable` when it cannot be made. */
  constructor(directory: string) {
    const pidFile = join(directory, "bridge.pid");
    let db: DatabaseSync | undefined;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      db = new DatabaseSync(join(directory, "bridge.lock"), { timeout: 0 });
      db.exec("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
      writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
    } catch (thrown) {
      db?.close();
      const cause = coerceError(thrown);
      if (!("errcode" in cause && Number(cause.errcode) % 256 === SQLITE_BUSY)) {
        throw unusable(directory, cause);
      }
      throw new BridgeError("data_dir_locked", `another dingtalk-bridge${owner(pidFile)} uses ${directory}`, {
        cause,
        mend: "stop the other one, or give this one a BRIDGE_DATA_DIR of its own",
      });
    }
    this.#db = db;
  }

  release(): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** Whether a bridge has the directory now; takes nothing and makes nothing. Undefined when this user cannot tell. */
export function isDirectoryLocked(directory: string): boolean | undefined {
  const file = join(directory, "bridge.lock");
  let db: DatabaseSync | undefined;
  try {
    if (!existsSync(file)) return false;
    db = new DatabaseSync(file, { readOnly: true, timeout: 0 });
    // A read wants a shared lock, for microseconds; the owner's exclusive one refuses it.
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    return false;
  } catch (thrown) {
    const cause = coerceError(thrown);
    return "errcode" in cause && Number(cause.errcode) % 256 === SQLITE_BUSY ? true : undefined;
  } finally {
    db?.close();
  }
}

function owner(pidFile: string): string {
  try {
    return ` (process ${readFileSync(pidFile, "utf8").trim()})`;
  } catch {
    return "";
  }
}
