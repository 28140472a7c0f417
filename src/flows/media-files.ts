import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Logger } from "../ops/logger.ts";
import type { MediaFile, MediaOrigin } from "../queue/media-store.ts";
import { safeFileName } from "./media-name.ts";
import { probeMedia } from "./media-probe.ts";
import { sniffType } from "./media-type.ts";
import { MediaWriter, inStore } from "./media-writer.ts";

export interface MediaAbout {
  account: string;
  origin: MediaOrigin;
  /** The write ends with `media_too_large` at the first byte beyond. */
  maxBytes: number;
  /** Epoch milliseconds. */
  createdAt: number;
  /** What it was sent as: a name for what has none. The type comes from the content alone. */
  type?: "image" | "file" | "audio" | "video";
  /** As somebody else wrote it; made safe here. */
  fileName?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface MediaFilesOptions {
  /** Made with mode 0700 when it is not there. */
  directory: string;
  /** The error while the disk has no room for media. */
  refusal: () => BridgeError | undefined;
  logger: Logger;
}

const ID = /^m_[0-9a-f]{32}$/;
/** A file under way: no reader knows the name. */
const UNFINISHED = ".part";
const OURS = /^(m_[0-9a-f]{32})(\.part)?$/;

/**
 * The files of the media directory, each called after its id: mode 0600, whole and on disk before it has its name. Which
 * ids exist is the store's to know; the row is written by the caller after the file.
 */
export class MediaFiles {
  readonly #options: MediaFilesOptions;

  constructor(options: MediaFilesOptions) {
    this.#options = options;
  }

  /**
   * Streams `source` to disk in constant memory. Nothing is left of a failed write, and `source` is ended early then.
   *
   * Throws BridgeError `media_too_large`, `media_empty`, `disk_low`, `store_unavailable`, `interrupted` (or the signal's
   * reason, when that is a BridgeError), and whatever `source` throws, as it is.
   */
  async write(source: AsyncIterable<Uint8Array>, about: MediaAbout): Promise<MediaFile> {
    const refusal = this.#options.refusal();
    if (refusal) throw refusal;
    const id = `m_${randomBytes(16).toString("hex")}`;
    const final = this.pathOf(id);
    const unfinished = final + UNFINISHED;
    try {
      const { bytes, sha256, head } = await this.#stream(source, unfinished, about);
      const mimeType = await sniffType(head, about.fileName);
      const { durationMs, width, height } = await probeMedia(unfinished, mimeType);
      await inStore(async () => {
        await rename(unfinished, final);
        await this.#syncDirectory();
      });
      const { account, origin, createdAt } = about;
      const fileName = safeFileName(about.fileName, mimeType, about.type);
      return { id, account, origin, mimeType, bytes, sha256, fileName, durationMs, width, height, createdAt };
    } catch (thrown) {
      await this.#discard(unfinished);
      await this.#discard(final);
      throw thrown;
    }
  }

  /** Throws BridgeError `media_unknown` on anything that is not an id of this class's making. */
  pathOf(id: string): string {
    if (!ID.test(id)) throw new BridgeError("media_unknown", "not the id of a media file");
    return path.join(this.#options.directory, id);
  }

  /** Files that are not there are no error; one that cannot be removed is logged and left for the next sweep. */
  async remove(ids: Iterable<string>): Promise<void> {
    for (const id of ids) await this.#discard(this.pathOf(id));
  }

  /**
   * Removes what a crash left: unfinished files, and files whose row was never written or is gone. To be called before
   * anything is written; names that are not ours stay. Returns how many were removed. Throws BridgeError
   * `store_unavailable` or `disk_low` when the directory cannot be made or read.
   */
  async sweep(known: ReadonlySet<string>): Promise<number> {
    const names = await inStore(async () => {
      await this.#makeDirectory();
      return readdir(this.#options.directory);
    });
    const stray = names.filter((name) => {
      const [, id, unfinished] = OURS.exec(name) ?? [];
      return id !== undefined && (unfinished !== undefined || !known.has(id));
    });
    for (const name of stray) await this.#discard(path.join(this.#options.directory, name));
    return stray.length;
  }

  async #stream(source: AsyncIterable<Uint8Array>, file: string, { maxBytes, signal }: MediaAbout) {
    await inStore(() => this.#makeDirectory());
    const handle = await inStore(() => open(file, "wx", 0o600));
    try {
      const writer = new MediaWriter(handle, maxBytes);
      for await (const chunk of untilAborted(source, signal)) await writer.write(chunk);
      return await writer.end();
    } finally {
      await inStore(() => handle.close());
    }
  }

  async #makeDirectory(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
  }

  /** Without it the name itself may be lost with the power. */
  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#options.directory, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async #discard(file: string): Promise<void> {
    try {
      await rm(file, { force: true });
    } catch (thrown) {
      this.#options.logger.warn({ err: coerceError(thrown), file: path.basename(file) }, "media file not removed");
    }
  }
}

/** Does not wait for a source that hangs, which `for await` with a check in its body would. */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncIterable<T> {
  const iterator = source[Symbol.asyncIterator]();
  // Replaced for every piece: a race against one lasting promise would add to it with each.
  let abort = (): void => {};
  const onAbort = (): void => abort();
  signal?.addEventListener("abort", onAbort);
  let isDone = false;
  try {
    for (;;) {
      const piece = await new Promise<IteratorResult<T>>((resolve, reject) => {
        abort = () => reject(interruption(signal));
        if (signal?.aborted === true) abort();
        else iterator.next().then(resolve, reject);
      });
      isDone = piece.done === true;
      if (piece.done === true) return;
      yield piece.value;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // Not awaited: the generator of a source that hangs ends when it goes on, and its errors concern nobody any more.
    if (!isDone) Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

function interruption(signal: AbortSignal | undefined): BridgeError {
  const reason: unknown = signal?.reason;
  if (reason instanceof BridgeError) return reason;
  return new BridgeError("interrupted", "stopped while a file was written", { retryable: true, cause: reason });
}
