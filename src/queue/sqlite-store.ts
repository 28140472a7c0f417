import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import type { Metrics } from "../ops/metrics.ts";
import { Appender } from "./appender.ts";
import { CardTexts } from "./card-texts.ts";
import { Eraser } from "./eraser.ts";
import { GroupCommit } from "./group-commit.ts";
import { IndicatorStore } from "./indicator-store.ts";
import { MediaStore } from "./media-store.ts";
import { type OpenOptions, openDatabase } from "./open.ts";
import { purge } from "./purge.ts";
import { QuotaStore } from "./quota-store.ts";
import { toConversation, toEntry, toHead, toPart } from "./rows.ts";
import { SCHEMA_VERSION } from "./schema.ts";
import type { Statements } from "./statements.ts";
import { StreamStore } from "./stream-store.ts";
import { Wiper, compact, emptyLog, sizeOf } from "./wipe.ts";
import type {
  Appended,
  Conversation,
  Entry,
  LaneHead,
  NewEntry,
  Part,
  PurgeOptions,
  QueueCounts,
  QueueName,
  QueueStore,
  SentPart,
  Settlement,
} from "./store.ts";

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * The store in one SQLite file, `bridge.db`, of which this process is the only user (ops/lock.ts). WAL with
 * `synchronous=FULL`: what a promise said is committed survives a crash of the process and of the machine.
 */
export class SqliteStore implements QueueStore {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;
  readonly #commits: GroupCommit;
  readonly #appender: Appender;
  #failure: BridgeError | undefined;
  /** What the month's quota was spent on. */
  readonly quota: QuotaStore;
  readonly media: MediaStore;
  readonly streams: StreamStore;
  readonly cardTexts: CardTexts;
  readonly indicators: IndicatorStore;
  readonly eraser: Eraser;
  readonly #wiper: Wiper;
  readonly #wipeSettled: boolean;
  #wipedAtOnce = 0;
  /** Entries whose attempt was cut off by the end of the last process. */
  readonly interrupted: number;

  /**
   * `wipeSettled`: what was said goes in the commit that settles a message. Throws BridgeError `schema_newer`, `data_dir_unusable`, or
   * `store_unavailable` on a full disk.
   */
  constructor(options: OpenOptions & { metrics: Metrics; wipeSettled?: boolean }) {
    const { db, sql, interrupted } = openDatabase(options);
    this.#db = db;
    this.#sql = sql;
    this.interrupted = interrupted;
    this.#commits = new GroupCommit(
      this.#db,
      (operations, seconds) => {
        options.metrics.commitSeconds.observe(seconds);
        options.metrics.commitRows.inc(operations);
      },
      (error) => (this.#failure = error),
    );
    this.quota = new QuotaStore(this.#db, this.#commits);
    this.media = new MediaStore(this.#db, this.#commits);
    this.#appender = new Appender({ db, sql, quota: this.quota, media: this.media });
    this.streams = new StreamStore(this.#db, this.#commits, this.#appender);
    this.cardTexts = new CardTexts(this.#db, this.#commits, this.#appender);
    this.indicators = new IndicatorStore(this.#db, this.#commits);
    this.eraser = new Eraser(this.#db, this.#commits);
    this.#wiper = new Wiper(this.#db, this.#commits);
    this.#wipeSettled = options.wipeSettled ?? false;
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

  async append(entry: NewEntry, conversation?: Conversation): Promise<Appended> {
    const prepared = this.#appender.prepare(entry);
    const appended = await this.#commits.submit(() => this.#appender.now(prepared, conversation));
    // Thrown after the commit: thrown inside, it would undo and repeat what others put into it.
    if (appended instanceof BridgeError) throw appended;
    return appended;
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

  acked(seq: number, at: number): void {
    this.#commits.ride(() => void this.#sql.acked.run(at, seq));
  }

  settle(seq: number, settlement: Settlement, attempted?: Outcome["kind"] | "crashed"): Promise<void> {
    return this.#commits.submit(() => {
      const { state } = settlement;
      const error = "error" in settlement ? settlement.error : undefined;
      const uncertain = "uncertain" in settlement && settlement.uncertain ? 1 : 0;
      const why = {
        code: error?.code ?? null,
        detail: error?.detail ?? null,
        uncertain,
        seq,
        outcome: attempted ?? null,
      };
      if (state === "open") {
        this.#sql.later.run({ ...why, dueAt: settlement.dueAt, counted: settlement.counted ? 1 : 0 });
      } else {
        const receipt = "receipt" in settlement && settlement.receipt ? JSON.stringify(settlement.receipt) : null;
        this.#sql.done.run({ ...why, state, at: settlement.at, receipt });
        if (this.#wipeSettled && state !== "dead" && this.#wiper.entryNow(seq)) this.#wipedAtOnce += 1;
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

  repeated(queue: QueueName, key: string): Entry | undefined {
    const id = this.#sql.byKey.get(queue, key)?.["id"];
    return typeof id === "string" ? this.find(queue, id) : undefined;
  }

  parts(seq: number): Part[] {
    return this.#sql.parts.all(seq).map(toPart);
  }

  sentMessage(account: string, processQueryKey: string): SentPart | undefined {
    const row = this.#sql.sentMessage.get(processQueryKey, account);
    const body = row && (JSON.parse(String(row["body"])) as { wiped?: true });
    return row && !body?.wiped ? { body, at: Number(row["at"]), entryId: String(row["id"]) } : undefined;
  }

  recalled(queue: "outbox", id: string, at: number): Promise<boolean> {
    return this.#commits.submit(() => this.#sql.recalled.run({ queue, id, at }).changes > 0);
  }

  deadLetters(options: { accounts?: string[]; limit: number; before?: number }): Entry[] {
    const accounts = options.accounts ? JSON.stringify(options.accounts) : null;
    return this.#sql.dead.all({ accounts, limit: options.limit, before: options.before ?? NO_LIMIT }).map(toEntry);
  }

  deadSince(at: number): Entry[] {
    return this.#sql.deadSince.all(at).map(toEntry);
  }

  replay(queue: QueueName, id: string, at: number): Promise<Entry | undefined> {
    return this.#commits.submit(() => {
      const row = this.#sql.replay.get({ queue, id, at });
      if (!row) return undefined;
      const entry = toEntry(row);
      const lane = this.#appender.laneNow(entry);
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

  knowsConversations(account: string): boolean {
    return this.#sql.anyConversation.get(account) !== undefined;
  }

  /** Open entries of one account. */
  openOf(account: string): Record<QueueName, number> {
    const count = (queue: QueueName): number => Number(this.#sql.openOf.get({ queue, account })?.["n"] ?? 0);
    return { inbox: count("inbox"), outbox: count("outbox") };
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

  purge(before: PurgeOptions): Promise<number> {
    const { streams, indicators } = this;
    return purge({ db: this.#db, sql: this.#sql, commits: this.#commits, streams, indicators }, before);
  }

  async wipe(settledBefore: number): Promise<{ rows: number; before: number }> {
    const rows = await this.#wiper.sweep(settledBefore);
    const before = this.#wipedAtOnce;
    this.#wipedAtOnce = 0;
    return { rows, before };
  }

  compact({ atMostBytes } = { atMostBytes: Infinity }): boolean {
    return sizeOf(this.#db) <= atMostBytes && compact(this.#db);
  }

  emptyLog(): boolean {
    return emptyLog(this.#db);
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
