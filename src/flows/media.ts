import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { MediaFile, MediaStore } from "../queue/media-store.ts";
import { chooseAccount } from "./account-choice.ts";
import type { MediaFiles } from "./media-files.ts";
import type { Scope } from "./messages.ts";

export type { MediaFile } from "../queue/media-store.ts";

export interface MediaOptions {
  store: Pick<MediaStore, "add" | "find">;
  files: Pick<MediaFiles, "write" | "pathOf" | "remove">;
  accounts: () => string[];
  /** Largest file. */
  maxBytes: number;
  clock: Clock;
  logger: Logger;
}

export interface UploadAbout {
  scope: Scope;
  /** As the caller names it; needed only when the scope does not say. */
  account?: string | undefined;
  fileName: string | undefined;
  /** The caller is gone: nothing is kept. */
  signal?: AbortSignal;
}

/** Files at the API: taken from the gateway, and looked up for it. */
export class Media {
  readonly #options: MediaOptions;
  readonly #uploads = new Set<Promise<MediaFile>>();

  constructor(options: MediaOptions) {
    this.#options = options;
  }

  get maxBytes(): number {
    return this.#options.maxBytes;
  }

  /**
   * Streams a file to disk and stores its row. Throws BridgeError `account_required`, `account_unknown`,
   * `account_forbidden`, `media_too_large`, `media_empty`, `disk_low` or `store_unavailable`, and what `source` throws;
   * nothing is left then. `source` is not read when the account is wrong.
   */
  async upload(source: AsyncIterable<Uint8Array>, about: UploadAbout): Promise<MediaFile> {
    const account = chooseAccount(about, about.scope, this.#options.accounts());
    const upload = this.#take(source, account, about);
    this.#uploads.add(upload);
    try {
      return await upload;
    } finally {
      this.#uploads.delete(upload);
    }
  }

  /** Undefined when there is none, or when it is not the caller's. */
  find(id: string, scope: Scope): MediaFile | undefined {
    const file = this.#options.store.find(id);
    return file && (scope.account === undefined || file.account === scope.account) ? file : undefined;
  }

  /** Where the bytes of a stored file are. */
  pathOf(file: MediaFile): string {
    return this.#options.files.pathOf(file.id);
  }

  /** No upload is under way (any more). */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#uploads);
  }

  async #take(source: AsyncIterable<Uint8Array>, account: string, about: UploadAbout): Promise<MediaFile> {
    const { store, files, maxBytes, clock, logger } = this.#options;
    const { fileName, signal } = about;
    const file = await files.write(source, {
      account,
      origin: "upload",
      maxBytes,
      createdAt: clock.now(),
      fileName,
      ...(signal && { signal }),
    });
    try {
      signal?.throwIfAborted();
      await store.add(file);
    } catch (thrown) {
      await files.remove([file.id]);
      throw thrown;
    }
    const { id, mimeType, bytes } = file;
    logger.info({ account, media: id, mimeType, bytes }, "file taken from the gateway");
    return file;
  }
}
