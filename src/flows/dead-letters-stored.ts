import { LifeReader } from "../queue/life.ts";
import { type DeadLetterView, deadLetterOf } from "./views.ts";

/**
 * The dead letters as they are on disk, newest first, for when no daemon runs; nothing is changed. Undefined when there is no database.
 * Throws BridgeError `schema_newer`, `schema_older`, and what SQLite throws when the file cannot be read.
 */
export function storedDeadLetters(config: { dataDir: string }): DeadLetterView[] | undefined {
  using reader = LifeReader.open(config.dataDir);
  return reader?.deadLetters().map(deadLetterOf);
}
