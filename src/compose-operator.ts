import { join } from "node:path";
import type { Config } from "./config.ts";
import { DeadLetters } from "./flows/dead-letters.ts";
import { Erasures, type ErasureReport } from "./flows/erasure.ts";
import { MediaFiles } from "./flows/media-files.ts";
import { systemClock } from "./ops/clock.ts";
import type { Clock } from "./ops/clock.ts";
import { DataDirectoryLock } from "./ops/lock.ts";
import { type Logger, createLogger } from "./ops/logger.ts";
import { createMetrics } from "./ops/metrics.ts";
import { hasDatabase } from "./queue/read-only.ts";
import { SqliteStore } from "./queue/sqlite-store.ts";
import type { QueueName } from "./queue/store.ts";

/** What an operator asks of a running bridge, wired. */
export function buildOperator(wiring: {
  config: Pick<Config, "dataDir">;
  store: SqliteStore;
  files: MediaFiles;
  clock: Clock;
  logger: Logger;
  /** A lane has another first entry now. */
  changed: (queue: QueueName, lane: string) => void;
  cancelled: (id: string) => void;
}): { deadLetters: DeadLetters; erasures: Erasures } {
  const { config, changed, ...rest } = wiring;
  return {
    deadLetters: new DeadLetters({ ...rest, onReplayed: changed }),
    erasures: new Erasures({ ...rest, dataDir: config.dataDir, changed }),
  };
}

/**
 * Erases in a data directory that no bridge uses; undefined when there is no database, and none is made. Throws BridgeError
 * `data_dir_locked` when a bridge does use it, `not_finished`, and what opening the store throws.
 */
export async function eraseStored(
  config: Pick<Config, "dataDir">,
  request: { kind: "user" | "conversation"; id: string; account: string | undefined; openToo: boolean },
): Promise<ErasureReport | undefined> {
  const { kind, id, account, openToo } = request;
  if (!hasDatabase(config.dataDir)) return undefined;
  const logger = createLogger({ level: "silent", version: "" });
  const lock = new DataDirectoryLock(config.dataDir);
  try {
    const store = new SqliteStore({ directory: config.dataDir, metrics: createMetrics() });
    try {
      const files = new MediaFiles({ directory: join(config.dataDir, "media"), refusal: () => undefined, logger });
      const idle = { changed: () => {}, cancelled: () => {} };
      const { erasures } = buildOperator({ config, store, files, clock: systemClock, logger, ...idle });
      return await erasures.erase({ kind, id }, { scope: { account }, openToo });
    } finally {
      await store.close();
    }
  } finally {
    lock.release();
  }
}
