import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

/** Its name in the data directory. */
export const DATABASE = "bridge.db";

/** Whether a bridge has ever run there. */
export const hasDatabase = (directory: string): boolean => existsSync(join(directory, DATABASE));

/**
 * The database of a data directory that this process does not own, beside a running bridge or without one; nothing in the directory
 * is changed. Undefined when there is none. Throws what SQLite throws when the file cannot be read. To be closed by the caller.
 */
export function openReadOnly(directory: string): DatabaseSync | undefined {
  const file = join(directory, DATABASE);
  if (!hasDatabase(directory)) return undefined;
  const url = pathToFileURL(file);
  // Without a WAL nobody has it open. SQLite would make one even to read it, and leave it behind with the owner of this process,
  // where the bridge under its own user could not write to it.
  if (!existsSync(`${file}-wal`)) url.searchParams.set("immutable", "1");
  return new DatabaseSync(url, { readOnly: true, timeout: 5_000 });
}
