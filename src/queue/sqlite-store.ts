import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Receipt } from "../domain/outcome.ts";
import { unusable } from "../ops/disk.ts";
import type { Metrics } from "../ops/metrics.ts";
import { GroupCommit } from "./group-commit.ts";
import { QuotaStore } from "./quota-store.ts";
import { toConversation, toEntry, toHead, toPart } from "./rows.ts";
import { SCHEMA_VERSION, backUp, migrate } from "./schema.ts";
import { shrink } from "./shrink.ts";
import { prepareStatements, type Statements } from "./statements.ts";
import {
  type Appended,
  type Conversation,
  type Entry,
  type EntryState,
  type LaneHead,
  type NewEntry,
  type Part,
  type QueueCounts,
  type QueueName,
  type QueueStore,
  type Settlement,
  conversationLane,
  splitLane,
  userLane,
} from "./store.ts";

const NO_LIMIT = Number.MAX_SAFE_INTEGER;
/** Rows that one transaction deletes: about 30 ms of the event loop. */
const PURGE_BATCH = 5_000;
/** The WAL goes back to this size when a reader from outside, or a long transaction, has made it grow. */
const WAL_BYTES = 32 * 1024 * 1024;

/**
 * The store in one SQLite file, `bridge.db`, of which this process is the only user (ops/lock.ts). WAL with
 * `synchronous=FULL`: what a promise said is committed survives a crash of the process and of the machine.
 */
export class SqliteStore implements QueueStore {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;
  readonly #commits: GroupCommit;
  #failure: BridgeError | undefined;
  /** What the month's quota was spent on. */
  readonly quota: QuotaStore;
  /** Entries whose attempt was cut off by the end of the last process. */
  readonly interrupted: number;

  /**
   * Opens or creates the store in `directory`. Throws BridgeError `schema_newer`, `data_dir_unusable`, or
   * `store_unavailable` on a full disk.
   * `openFile` lets a caller keep the handle, to make real failures of the file happen.
   */
  constructor(options: { directory: string; metrics: Metrics; openFile?: (file: string) => DatabaseSync }) {
    const { directory } = options;
    let db: DatabaseSync | undefined;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const file = join(directory, "bridge.db");
      db = options.openFile?.(file) ?? new DatabaseSync(file, { timeout: 5_000 });
      chmodSync(file, 0o600);
      // auto_vacuum takes effect in a new file only, and only before its first page is written.
      db.exec(`
        PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = ${WAL_BYTES}`);
      const opened = db;
      migrate(db, (version) => backUp(opened, join(directory, `bridge.schema-${version}.backup.db`)));
      this.#sql = prepareStatements(db);
      this.interrupted = Number(this.#sql.crashed.run().changes);
      this.#db = db;
    } catch (thrown) {
      db?.close();
      if (thrown instanceof BridgeError) throw thrown;
      throw unusable(directory, coerceError(thrown));
    }
    this.#commits = new GroupCommit(
      this.#db,
      (operations, seconds) => {
        options.metrics.commitSeconds.observe(seconds);
        options.metrics.commitRows.inc(operations);
      },
      (error) => (this.#failure = error),
    );
    this.quota = new QuotaStore(this.#db, this.#commits);
  }

  /** Why the last write that failed did, until a probe has succeeded. */
  get failure(): BridgeError | undefined {
    return this.#failure;
  }

  /** Writes a page. Rejects with `store_unavailable` when the file takes no writes. */
  async probe(): Promise<void> {
    // Rewrites the header with what it says: an UPDATE that changes nothing would write nothing.
    await this.#commits.submit(() => this.#db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`));
    this.#failure = undefined;
  }

  append(entry: NewEntry, conversation?: Conversation): Promise<Appended> {
    const body = JSON.stringify(entry.body);
    const parts = entry.parts?.map((part) => JSON.stringify(part)) ?? [];
    const final = entry.dead ?? entry.cancelled;
    const written = this.#commits.submit<Appended | BridgeError>(() => {
      const lane = this.#laneNow(entry);
      const full = entry.atMost && this.#full({ ...entry, lane }, entry.atMost);
      if (full) return full;
      const inserted = this.#sql.insert.get({
        queue: entry.queue,
        id: entry.id,
        key: entry.key,
        account: entry.account,
        lane,
        kind: entry.kind,
        body,
        digest: entry.digest ?? null,
        at: entry.createdAt,
        state: stateOf(entry),
        settledAt: final ? entry.createdAt : null,
        errorCode: final?.code ?? null,
        errorDetail: final?.detail ?? null,
        sender: entry.sender ?? null,
      });
      if (!inserted) return this.#repeated(entry);
      if (entry.usage) this.quota.addNow(entry.usage);
      const seq = Number(inserted["seq"]);
      for (const [n, part] of parts.entries()) this.#sql.insertPart.run(seq, n, part);
      const merged = conversation && this.#seen(conversation);
      const cancelled = entry.cancels && this.#cancelOf(entry.cancels.lane, entry);
      return {
        seq,
        id: entry.id,
        lane,
        duplicate: false,
        digest: entry.digest,
        ...(merged && { merged }),
        ...(cancelled !== undefined && { cancelled }),
      };
    });
    // Thrown after the commit: thrown inside, it would undo and repeat what others put into it.
    return written.then((appended) => {
      if (appended instanceof BridgeError) throw appended;
      return appended;
    });
  }

  /** Looked up in the commit itself: the person's first message may be in the same one. */
  #laneNow({ queue, lane }: Pick<NewEntry, "queue" | "lane">): string {
    const { account, staffId } = splitLane(lane);
    const direct = queue === "outbox" && staffId !== undefined ? this.#sql.direct.get(account, staffId) : undefined;
    return direct ? conversationLane(account, String(direct["id"])) : lane;
  }

  #full({ queue, lane, key }: NewEntry, atMost: { lane: number; queue: number }): BridgeError | undefined {
    const laneFull = this.#sql.laneHas.get(queue, lane, atMost.lane - 1) !== undefined;
    if (!laneFull && Number(this.#sql.openCount.get(queue)?.["n"] ?? 0) < atMost.queue) return undefined;
    if (this.#sql.byKey.get(queue, key)) return undefined;
    const what = laneFull ? `${atMost.lane} messages to this conversation wait` : `${atMost.queue} messages wait`;
    return new BridgeError("queue_full", `${what} already; try again later`, {
      retryable: true,
      mend: "the log and GET /v1/status say why messages wait; DELETE /v1/messages/:id takes one back",
    });
  }

  #cancelOf(lane: string, by: NewEntry): number {
    const who = { lane, sender: by.sender ?? null };
    const ended = this.#sql.cancelOf.run({ ...who, at: by.createdAt }).changes;
    return Number(ended) + Number(this.#sql.stopOf.run(who).changes);
  }

  #repeated(entry: NewEntry): Appended {
    const first = this.#sql.byKey.get(entry.queue, entry.key);
    // The id clashed but not the key: two different things claim one public id, which no caller may do.
    if (!first) throw new BridgeError("internal", `the id ${entry.id} is taken by another entry of the ${entry.queue}`);
    const digest = first["digest"];
    return {
      seq: Number(first["seq"]),
      id: String(first["id"]),
      lane: String(first["lane"]),
      duplicate: true,
      digest: typeof digest === "string" ? digest : undefined,
    };
  }

  #seen(conversation: Conversation): { from: string; to: string } | undefined {
    const { account, id, kind, staffId, webhook } = conversation;
    this.#sql.seen.run({
      account,
      id,
      kind,
      title: conversation.title ?? null,
      staffId: staffId ?? null,
      webhook: webhook?.url ?? null,
      webhookExpiresAt: webhook?.expiresAt ?? null,
      lastSeen: conversation.lastSeen,
    });
    if (kind !== "direct" || staffId === undefined) return undefined;
    const [from, to] = [userLane(account, staffId), conversationLane(account, id)];
    return this.#sql.mergeLane.run({ from, to }).changes > 0 ? { from, to } : undefined;
  }

  heads(queue: QueueName): LaneHead[] {
    return this.#sql.heads(queue).map(toHead);
  }

  head(queue: QueueName, lane: string): LaneHead | undefined {
    const row = this.#sql.head.get(queue, lane);
    return row && toHead(Object.values(row));
  }

  front(queue: QueueName, lane: string, limit: number): LaneHead[] {
    return this.#sql.front.all(queue, lane, limit).map((row) => toHead(Object.values(row)));
  }

  waitingSince(queue: QueueName, page: { before: number; after: number; limit: number }): Entry[] {
    return this.#sql.waitingSince.all({ queue, ...page }).map(toEntry);
  }

  countOfSender(account: string, sender: string, from: number): number {
    return Number(this.#sql.countOfSender.get(account, sender, from)?.["n"] ?? 0);
  }

  recentSends(times: { from: number; now: number }): { lane: string; at: number }[] {
    return this.#sql.recentSends.all(times).map(({ lane, at }) => ({ lane: String(lane), at: Number(at) }));
  }

  begin(seq: number): Promise<Entry | undefined> {
    return this.#commits.submit(() => {
      const row = this.#sql.begin.get(seq);
      return row && toEntry(row);
    });
  }

  settle(seq: number, settlement: Settlement): Promise<void> {
    return this.#commits.submit(() => {
      const { state } = settlement;
      const error = "error" in settlement ? settlement.error : undefined;
      const uncertain = "uncertain" in settlement && settlement.uncertain ? 1 : 0;
      const why = { code: error?.code ?? null, detail: error?.detail ?? null, uncertain, seq };
      if (state === "open") {
        this.#sql.later.run({ ...why, dueAt: settlement.dueAt, counted: settlement.counted ? 1 : 0 });
      } else {
        const receipt = "receipt" in settlement && settlement.receipt ? JSON.stringify(settlement.receipt) : null;
        this.#sql.done.run({ ...why, state, at: settlement.at, receipt });
      }
    });
  }

  dueBy(queue: QueueName, latest: number): Promise<void> {
    return this.#commits.submit(() => {
      this.#sql.dueBy.run({ queue, latest });
    });
  }

  deliverPart(seq: number, n: number, receipt: Receipt): Promise<void> {
    return this.#commits.submit(() => {
      this.#sql.deliverPart.run(JSON.stringify(receipt), seq, n);
    });
  }

  cancel(queue: QueueName, id: string, at: number): Promise<boolean> {
    return this.#commits.submit(() => this.#sql.cancel.run({ queue, id, at }).changes > 0);
  }

  find(queue: QueueName, id: string): Entry | undefined {
    const row = this.#sql.byId.get(queue, id);
    return row && toEntry(row);
  }

  parts(seq: number): Part[] {
    return this.#sql.parts.all(seq).map(toPart);
  }

  deadLetters(options: { accounts?: string[]; limit: number; before?: number }): Entry[] {
    const accounts = options.accounts ? JSON.stringify(options.accounts) : null;
    return this.#sql.dead.all({ accounts, limit: options.limit, before: options.before ?? NO_LIMIT }).map(toEntry);
  }

  replay(queue: QueueName, id: string, at: number): Promise<Entry | undefined> {
    return this.#commits.submit(() => {
      const row = this.#sql.replay.get({ queue, id, at });
      if (!row) return undefined;
      const entry = toEntry(row);
      const lane = this.#laneNow(entry);
      if (lane !== entry.lane) this.#sql.mergeLane.run({ from: entry.lane, to: lane });
      return { ...entry, lane };
    });
  }

  discard(queue: QueueName, id: string): Promise<boolean> {
    return this.#commits.submit(() => this.#sql.discard.run(queue, id).changes > 0);
  }

  conversation(account: string, id: string): Conversation | undefined {
    const row = this.#sql.conversation.get(account, id);
    return row && toConversation(row);
  }

  directConversation(account: string, staffId: string): Conversation | undefined {
    const row = this.#sql.direct.get(account, staffId);
    return row && toConversation(row);
  }

  counts(queue: QueueName): QueueCounts {
    const open = this.#sql.countOpen.get({ queue });
    const oldest = open?.["oldest"];
    return {
      open: Number(open?.["n"] ?? 0),
      dead: Number(this.#sql.countDead.get(queue)?.["n"] ?? 0),
      oldestOpenAt: typeof oldest === "number" ? oldest : undefined,
    };
  }

  async purge(before: {
    settledBefore: number;
    deadBefore: number;
    conversationsBefore: number;
    now: number;
  }): Promise<number> {
    let gone = await this.#commits.submit(() => {
      this.#sql.wipeWebhooks.run(before.now);
      return Number(this.#sql.purgeConversations.run(before.conversationsBefore).changes);
    });
    for (const [statement, time] of [
      [this.#sql.purgeSettled, before.settledBefore],
      [this.#sql.purgeDead, before.deadBefore],
    ] as const) {
      let rows: number;
      do {
        rows = await this.#commits.submit(() => Number(statement.run(time, PURGE_BATCH).changes));
        gone += rows;
      } while (rows === PURGE_BATCH);
    }
    await shrink(this.#db, this.#commits);
    return gone;
  }

  async close(): Promise<void> {
    if (!this.#db.isOpen) return;
    this.#commits.flush();
    try {
      this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // A full disk: what is committed is in the WAL and is read from there at the next start.
    }
    this.#db.close();
    await Promise.resolve();
  }
}

function stateOf(entry: NewEntry): EntryState {
  if (entry.dead) return "dead";
  return entry.cancelled ? "cancelled" : "open";
}
