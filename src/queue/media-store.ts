import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import type { ErrorCode } from "../domain/errors.ts";
import type { GroupCommit } from "./group-commit.ts";
import { prepareMediaStatements } from "./media-statements.ts";

/** How a file came to the bridge: with a message, by `POST /v1/media`, or fetched from a `media.url`. */
export type MediaOrigin = "inbound" | "upload" | "url";

/** A file of the data directory, named by its id. */
export interface MediaFile {
  /** `m_` and 32 hexadecimal digits. */
  id: string;
  account: string;
  origin: MediaOrigin;
  /** By its content. */
  mimeType: string;
  bytes: number;
  /** Hexadecimal. */
  sha256: string;
  fileName: string | undefined;
  durationMs: number | undefined;
  width: number | undefined;
  height: number | undefined;
  /** Epoch milliseconds. */
  createdAt: number;
}

/** One file of a message that has to be fetched from DingTalk. */
export interface NewFetch {
  /** Where in the entry's body the part is that the file belongs to. */
  path: readonly (string | number)[];
  type: "image" | "file" | "audio" | "video";
  downloadCode: string;
  fileName?: string;
  durationMs?: number;
}

export type FetchResult = { media: MediaFile } | { error: { code: ErrorCode; detail: string } };

export interface MediaFetch extends NewFetch {
  /** Of the inbox entry. */
  seq: number;
  /** Which of the entry's fetches, from 0. */
  n: number;
  account: string;
  lane: string;
  /** Of the entry; epoch milliseconds. */
  createdAt: number;
  /** How often it was begun. */
  attempts: number;
  /** Undefined until it is settled. */
  result: FetchResult | undefined;
}

/** A file that DingTalk has already. Its ids live a while; `at` is when it was uploaded, epoch milliseconds. */
export interface StoredUpload {
  account: string;
  sha256: string;
  /** DingTalk's `type` of the upload. */
  type: string;
  mediaId: string;
  at: number;
}

type Row = Record<string, SQLOutputValue>;

interface MediaAge {
  id: string;
  bytes: number;
  createdAt: number;
  /** By an open entry. */
  used: boolean;
}

/**
 * Files and what uses them, in the file and the commits of the queues; the bytes themselves are beside it in the data directory
 * (flows/media-files.ts). Reads are synchronous; writes resolve once they are committed and reject like the queues'.
 */
export class MediaStore {
  readonly #commits: GroupCommit;
  readonly #sql: ReturnType<typeof prepareMediaStatements>;

  constructor(db: DatabaseSync, commits: GroupCommit) {
    this.#commits = commits;
    this.#sql = prepareMediaStatements(db);
  }

  find(id: string): MediaFile | undefined {
    const row = this.#sql.find.get(id);
    return row && toFile(row);
  }

  /** `usedBy` is the `seq` of an entry that needs the file as long as it is open, where `NewEntry.media` did not say so. */
  add(file: MediaFile, usedBy?: number): Promise<void> {
    return this.#commits.submit(() => {
      this.#insert(file);
      if (usedBy !== undefined) this.#sql.insertUse.run({ seq: usedBy, media: file.id });
    });
  }

  /** What an entry brings along, inside the commit that stores it. */
  appendNow(seq: number, fetches: readonly NewFetch[] = [], media: readonly string[] = []): void {
    for (const [n, fetch] of fetches.entries()) this.#sql.insertFetch.run(seq, n, JSON.stringify(fetch));
    for (const id of media) this.#sql.insertUse.run({ seq, media: id });
  }

  /** In order of `n`. The result of a file that has expired since is the error `media_expired`. */
  fetchesOf(seq: number): MediaFetch[] {
    return this.#sql.fetchesOf.all(seq).map((row) => this.#toFetch(row));
  }

  /** Of open entries, oldest first. */
  unfinishedFetches(): MediaFetch[] {
    return this.#sql.unfinished.all().map((row) => this.#toFetch(row));
  }

  /** Counts an attempt, so that one that ends with the process is known of. */
  fetchBegun(seq: number, n: number): Promise<void> {
    return this.#commits.submit(() => void this.#sql.begun.run(seq, n));
  }

  /** The file's row and the result in one commit. What was settled before stays; the file is then nobody's and expires. */
  fetchSettled(seq: number, n: number, result: FetchResult): Promise<void> {
    return this.#commits.submit(() => {
      const error = "error" in result ? result.error : undefined;
      const media = "media" in result ? result.media : undefined;
      if (media) this.#insert(media);
      const why = { code: error?.code ?? null, detail: error?.detail ?? null };
      this.#sql.settled.run({ seq, n, media: media?.id ?? null, ...why });
    });
  }

  /** DingTalk's `media_id` of the same bytes, uploaded as the same type not before `since` (epoch milliseconds). */
  uploaded(account: string, sha256: string, type: string, since: number): string | undefined {
    const row = this.#sql.uploaded.get(account, sha256, type, since);
    return row && String(row["media_id"]);
  }

  rememberUpload({ account, sha256, type, mediaId, at }: StoredUpload): Promise<void> {
    return this.#commits.submit(() => void this.#sql.remember.run({ account, sha256, type, mediaId, at }));
  }

  /** DingTalk does not know the id any more. */
  forgetUpload(account: string, mediaId: string): Promise<void> {
    return this.#commits.submit(() => void this.#sql.forget.run(account, mediaId));
  }

  totals(): { files: number; bytes: number } {
    const row = this.#sql.totals.get();
    return { files: Number(row?.["files"]), bytes: Number(row?.["bytes"]) };
  }

  ids(): Set<string> {
    return new Set(this.#sql.ids.all().map((row) => String(row["id"])));
  }

  /**
   * Deletes the rows of files older than `before`, then the oldest until the rest is within `maxBytes`; never one that an open
   * entry uses, nor one of `spareSince` or later, however much there is: the message that it was uploaded for may still be on its
   * way. Forgets uploads older than `uploadsBefore`. Times in epoch milliseconds. Returns the ids whose files are to be removed;
   * rejects only when nothing was deleted.
   */
  async expire(options: {
    before: number;
    maxBytes: number;
    uploadsBefore: number;
    spareSince?: number;
  }): Promise<string[]> {
    const { before, maxBytes, uploadsBefore, spareSince = Number.POSITIVE_INFINITY } = options;
    await this.#commits.submit(() => void this.#sql.purgeUploads.run(uploadsBefore));
    const gone: string[] = [];
    let excess = this.totals().bytes - maxBytes;
    let page = this.#oldestAfter(Number.MIN_SAFE_INTEGER, "");
    for (let last = page.at(-1); last; last = page.at(-1)) {
      const chosen: MediaAge[] = [];
      for (const row of page) {
        if (row.used || row.createdAt >= spareSince || (row.createdAt >= before && excess <= 0)) continue;
        chosen.push(row);
        excess -= row.bytes;
      }
      try {
        gone.push(...(await this.#remove(chosen)));
      } catch (error) {
        // The files of rows that are gone already must not be forgotten; the rest is there the next time.
        if (gone.length === 0) throw error;
        break;
      }
      if (last.createdAt >= spareSince || (last.createdAt >= before && excess <= 0)) break;
      page = this.#oldestAfter(last.createdAt, last.id);
    }
    return gone;
  }

  #oldestAfter(createdAt: number, id: string): MediaAge[] {
    return this.#sql.oldest.all(createdAt, id).map((row) => ({
      id: String(row["id"]),
      bytes: Number(row["bytes"]),
      createdAt: Number(row["created_at"]),
      used: row["used"] === 1,
    }));
  }

  /** Returns those that went: an entry that uses one may have come meanwhile. */
  async #remove(rows: readonly MediaAge[]): Promise<string[]> {
    if (rows.length === 0) {
      await setImmediate();
      return [];
    }
    return this.#commits.submit(() =>
      rows.filter(({ id }) => this.#sql.remove.run(id).changes > 0).map(({ id }) => id),
    );
  }

  #insert({ fileName, durationMs, width, height, ...file }: MediaFile): void {
    this.#sql.insert.run({
      ...file,
      fileName: fileName ?? null,
      durationMs: whole(durationMs),
      width: whole(width),
      height: whole(height),
    });
  }

  #toFetch(row: Row): MediaFetch {
    return {
      ...(JSON.parse(String(row["fetch"])) as NewFetch),
      seq: Number(row["entry"]),
      n: Number(row["n"]),
      account: String(row["account"]),
      lane: String(row["lane"]),
      createdAt: Number(row["created_at"]),
      attempts: Number(row["attempts"]),
      result: this.#toResult(row),
    };
  }

  #toResult({ media, error_code: code, error_detail: detail }: Row): FetchResult | undefined {
    if (typeof code === "string") return { error: { code: code as ErrorCode, detail: String(detail ?? "") } };
    if (typeof media !== "string") return undefined;
    const file = this.find(media);
    return file
      ? { media: file }
      : { error: { code: "media_expired", detail: "the file was deleted after its retention" } };
  }
}

/** The columns take whole numbers only, and media files say what they like about themselves. */
function whole(value: number | undefined): number | null {
  const rounded = Math.round(value ?? Number.NaN);
  return Number.isSafeInteger(rounded) ? rounded : null;
}

const optionalText = (value: SQLOutputValue | undefined): string | undefined =>
  typeof value === "string" ? value : undefined;
const optionalNumber = (value: SQLOutputValue | undefined): number | undefined =>
  typeof value === "number" ? value : undefined;

function toFile(row: Row): MediaFile {
  return {
    id: String(row["id"]),
    account: String(row["account"]),
    origin: String(row["origin"]) as MediaOrigin,
    mimeType: String(row["mime_type"]),
    bytes: Number(row["bytes"]),
    sha256: String(row["sha256"]),
    fileName: optionalText(row["file_name"]),
    durationMs: optionalNumber(row["duration_ms"]),
    width: optionalNumber(row["width"]),
    height: optionalNumber(row["height"]),
    createdAt: Number(row["created_at"]),
  };
}
