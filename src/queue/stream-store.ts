import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";
import type { Appender } from "./appender.ts";
import type { GroupCommit } from "./group-commit.ts";
import { type Row, optional, text } from "./rows.ts";
import type { Appended, NewEntry } from "./store.ts";
import { prepareStreamStatements } from "./stream-statements.ts";

/** `creating` is committed before the first request, so that a lost answer is resolved by `outTrackId`. */
export type CardState = "none" | "creating" | "shown" | "finished" | "failed";

/** Whose word ended the stream: the gateway's `finish`, `idleTimeoutMs` without life, or a restart without news. */
export type FinishedBy = "gateway" | "idle" | "restart";

/** A reply that grows (`POST /v1/streams`), and the card that shows it, if there is one (design §9). */
export interface StreamRow {
  /** `st_` and a UUID. */
  id: string;
  account: string;
  /** Of the conversation. While the stream is open it follows a person's direct conversation once that is known. */
  lane: string;
  /** As the caller gave it: `conversation:<id>` or `user:<staffId>`. */
  to: string;
  /** Envelope id that is answered. */
  inReplyTo: string | undefined;
  /** Milliseconds without life after which it is finished. */
  idleMs: number;
  mode: "card" | "buffered";
  /** How its caller wants it shown, where it said so. */
  asked: "auto" | "card" | "markdown" | "text" | undefined;
  /** What the text is sent as where there is no card. */
  format: "markdown" | "text";
  /** `br_…`; DingTalk knows the card by it. */
  outTrackId: string;
  templateId: string;
  /** The variable of the template that holds the text. */
  templateKey: string;
  card: CardState;
  /** Last known full text. */
  text: string;
  /** Of the PUT that `text` is from. */
  seq: number;
  /** PUTs are taken while it is `open`. */
  state: "open" | "closed";
  /** What the closed card says, when it was closed by size; "" otherwise. */
  shownText: string;
  /** Of the finish request, to tell a repeat from another one. */
  digest: string | undefined;
  /** Undefined while open. */
  finishedBy: FinishedBy | undefined;
  /** Id of the outbox entry that carries the text, or what did not fit on the card. */
  messageId: string | undefined;
  /** Epoch milliseconds. */
  createdAt: number;
  closedAt: number | undefined;
}

export interface StreamNote {
  card?: CardState;
  text?: string;
  seq?: number;
  shownText?: string;
}

export interface StreamClose {
  text: string;
  digest: string | undefined;
  finishedBy: FinishedBy;
  card?: CardState;
  messageId?: string;
  /** Epoch milliseconds. */
  at: number;
}

/**
 * Streams in the file and the commits of the queues. Reads are synchronous; writes resolve once they are committed and reject like
 * the queues'.
 */
export class StreamStore {
  readonly #commits: GroupCommit;
  readonly #appender: Appender;
  readonly #sql: ReturnType<typeof prepareStreamStatements>;

  constructor(db: DatabaseSync, commits: GroupCommit, appender: Appender) {
    this.#commits = commits;
    this.#appender = appender;
    this.#sql = prepareStreamStatements(db);
  }

  find(id: string): StreamRow | undefined {
    const row = this.#sql.find.get(id);
    return row && toStream(row);
  }

  /** Oldest first. */
  open(): StreamRow[] {
    return this.#sql.open.all().map(toStream);
  }

  /** The lane of a person becomes that of the direct conversation when that is known. Rejects when the id or the `outTrackId` is taken. */
  add(row: StreamRow): Promise<void> {
    return this.#afterwards(() => {
      const lane = this.#appender.laneNow({ queue: "outbox", lane: row.lane });
      const taken = this.#sql.insert.run(toColumns({ ...row, lane })).changes === 0;
      return taken ? new BridgeError("internal", `the stream id ${row.id} or its card is there already`) : undefined;
    });
  }

  /** Writes what changed of an open stream. False when it is not open (any more): nothing was written. */
  note(id: string, change: StreamNote): Promise<boolean> {
    const { card = null, text = null, shownText = null } = change;
    const seq = change.seq === undefined ? null : whole(change.seq);
    return this.#commits.submit(() => this.#sql.note.run({ id, card, text, seq, shownText }).changes > 0);
  }

  /**
   * Closes the stream and appends the entries in one transaction, all or nothing, by the rules of `QueueStore.append`, except that
   * no bound refuses one: the reply was accepted when its stream was. An entry whose key is there already is a `duplicate` and
   * no error. False when the stream is not open (any more): nothing was written. Rejects with `internal` when an id, but not the key, is
   * that of another entry; the stream is then still open.
   */
  async close(id: string, change: StreamClose, entries: readonly NewEntry[]): Promise<Appended[] | false> {
    const { text, digest = null, finishedBy, card = null, messageId = null, at } = change;
    return this.#withEntries(entries, () =>
      this.#sql.close.run({ id, text, digest, finishedBy, card, messageId, at: whole(at) }),
    );
  }

  /**
   * The card is full: what it says for good is kept, and the entries are appended as by `close`, while the stream stays open. False
   * when it is not open (any more), or was filled before: a card is finished once.
   */
  async fill(
    id: string,
    change: { shownText: string; text: string },
    entries: readonly NewEntry[],
  ): Promise<Appended[] | false> {
    const { shownText, text } = change;
    return this.#withEntries(entries, () => this.#sql.fill.run({ id, shownText, text }));
  }

  /** Closed ones, at most `limit`, inside a commit that another write has begun. */
  purgeNow(closedBefore: number, limit: number): number {
    return Number(this.#sql.purge.run(closedBefore, limit).changes);
  }

  #withEntries(entries: readonly NewEntry[], change: () => { changes: number | bigint }): Promise<Appended[] | false> {
    const prepared = entries.map((entry) => this.#appender.prepare({ ...entry, atMost: undefined }));
    return this.#afterwards(() => this.#appender.allOrNothing(prepared, () => change().changes > 0));
  }

  /** A refusal is thrown after the commit: thrown inside, it would undo and repeat what others put into it. */
  async #afterwards<T>(run: () => T | BridgeError): Promise<T> {
    const result = await this.#commits.submit(run);
    if (result instanceof BridgeError) throw result;
    return result;
  }
}

/** The columns take whole numbers only. */
function whole(value: number): number {
  const rounded = Math.trunc(value) || 0;
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, rounded));
}

function toColumns({ idleMs, seq, createdAt, closedAt, ...row }: StreamRow) {
  return {
    ...row,
    inReplyTo: row.inReplyTo ?? null,
    asked: row.asked ?? null,
    idleMs: whole(idleMs),
    seq: whole(seq),
    digest: row.digest ?? null,
    finishedBy: row.finishedBy ?? null,
    messageId: row.messageId ?? null,
    createdAt: whole(createdAt),
    closedAt: closedAt === undefined ? null : whole(closedAt),
  };
}

/** The column checks of the schema make the casts true. */
export function toStream(row: Row): StreamRow {
  return {
    id: text(row["id"]),
    account: text(row["account"]),
    lane: text(row["lane"]),
    to: text(row["target"]),
    inReplyTo: optional(row["in_reply_to"]),
    idleMs: Number(row["idle_ms"]),
    mode: text(row["mode"]) as StreamRow["mode"],
    asked: optional(row["asked"]) as StreamRow["asked"],
    format: text(row["format"]) as StreamRow["format"],
    outTrackId: text(row["out_track_id"]),
    templateId: text(row["template_id"]),
    templateKey: text(row["template_key"]),
    card: text(row["card"]) as CardState,
    text: text(row["text"]),
    seq: Number(row["seq"]),
    state: text(row["state"]) as StreamRow["state"],
    shownText: text(row["shown_text"]),
    digest: optional(row["digest"]),
    finishedBy: optional(row["finished_by"]) as FinishedBy | undefined,
    messageId: optional(row["message_id"]),
    createdAt: Number(row["created_at"]),
    closedAt: row["closed_at"] === null ? undefined : Number(row["closed_at"]),
  };
}
