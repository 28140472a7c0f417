import type { DatabaseSync } from "node:sqlite";
import type { GroupCommit } from "./group-commit.ts";
import type { IndicatorStore } from "./indicator-store.ts";
import { shrink } from "./shrink.ts";
import type { Statements } from "./statements.ts";
import type { PurgeOptions } from "./store.ts";
import type { StreamStore } from "./stream-store.ts";

/** Rows that one transaction deletes: about 30 ms of the event loop. */
const PURGE_BATCH = 3_000;

/** Deletes what is older than the retention, and what hangs on it; see `QueueStore.purge`. */
export async function purge(
  store: {
    db: DatabaseSync;
    sql: Statements;
    commits: GroupCommit;
    streams: StreamStore;
    indicators: IndicatorStore;
  },
  before: PurgeOptions,
): Promise<number> {
  const { db, sql, commits } = store;
  let gone = await commits.submit(() => {
    sql.wipeWebhooks.run(before.now);
    const gone = store.indicators.purgeNow(before.settledBefore);
    return gone + Number(sql.purgeConversations.run(before.conversationsBefore).changes);
  });
  const batches = [
    () => Number(sql.purgeSettled.run(before.settledBefore, PURGE_BATCH).changes),
    () => Number(sql.purgeDead.run(before.deadBefore, PURGE_BATCH).changes),
    () => store.streams.purgeNow(before.settledBefore, PURGE_BATCH),
  ];
  for (const batch of batches) {
    let rows: number;
    do {
      rows = await commits.submit(batch);
      gone += rows;
    } while (rows === PURGE_BATCH);
  }
  await shrink(db, commits);
  return gone;
}
