import { BridgeError, type ErrorCode } from "../domain/errors.ts";
import type { Failure } from "../dingtalk/answers.ts";
import type { SendContent } from "../dingtalk/bodies.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { MediaFile, MediaStore } from "../queue/media-store.ts";
import { ownMedia } from "./media-address.ts";
import { PLAIN_COVER, PLAIN_COVER_SHA256 } from "./media-cover.ts";
import type { MediaFiles } from "./media-files.ts";
import { LARGEST_BYTES, type MediaForm, formOf, isShownImage, nameFor } from "./media-form.ts";
import type { GuardedFetch } from "./media-guard.ts";
import { safeFileName } from "./media-name.ts";
import type { MediaUploads, Step, UploadContext } from "./media-uploads.ts";
import { zipOf } from "./media-zip.ts";
import type { MediaContent, MediaReference, MediaType } from "./outbound-content.ts";

export interface MediaSenderOptions {
  store: Pick<MediaStore, "find" | "add">;
  files: Pick<MediaFiles, "write" | "pathOf" | "remove">;
  fetch: GuardedFetch;
  uploads: MediaUploads;
  /** Of a file from a URL. */
  maxBytes: number;
  /** How the gateway reaches the bridge. */
  publicUrl: () => string;
  clock: Clock;
  logger: Logger;
}

/** Whose message it is. */
export interface MediaContext extends UploadContext {
  /** Of the entry, which keeps what is fetched for it. */
  seq: number;
  /** Attempts at the entry that counted so far. */
  attempts: number;
}

/** `mediaIds` are DingTalk's, as they stand in the content. */
export type Prepared<C> = { kind: "ready"; content: C; mediaIds: string[] } | Failure;

/** Attempts at a URL that fails for now; its conversation waits meanwhile. */
const TRIES = 4;
const FETCH_MS = 60_000;
/** A text waits for a picture in it no longer. */
const IMAGE_FETCH_MS = 15_000;
/** Fetched files that are remembered for the next attempt of their message. */
const REMEMBERED = 1_000;

/** What will be well again by itself, without this file having anything to do with it. */
const NOT_ITS_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["disk_low", "store_unavailable", "interrupted"]);

/** Makes a file of the gateway ready to be sent: fetches it, packs what DingTalk would refuse, uploads it. Never throws for these. */
export class MediaSender {
  readonly #options: MediaSenderOptions;
  /** Ids of what was fetched for an entry, by its `seq` and the URL. */
  readonly #fetched = new Map<string, string>();
  readonly #stop = new AbortController();

  constructor(options: MediaSenderOptions) {
    this.#options = options;
  }

  /**
   * The bridge stops: no server is waited for any longer, which might take its time until the stop has none left. The messages
   * are tried again after the next start.
   */
  stopFetching(): void {
    this.#stop.abort(new BridgeError("interrupted", "the bridge stops", { retryable: true }));
  }

  async prepare(content: MediaContent, context: MediaContext): Promise<Prepared<SendContent>> {
    const resolved = await this.#resolve(content.media, content.type, content.fileName, context, FETCH_MS);
    if (resolved.kind !== "done") return resolved;
    const form = formOf(content.type, resolved.value);
    const shown = await this.#as(form, resolved.value, content, context);
    const isRefused = shown.kind === "rejected" && shown.code === "media_unsupported";
    return isRefused && form.kind !== "packed" ? this.#as({ kind: "packed" }, resolved.value, content, context) : shown;
  }

  async #as(
    form: MediaForm,
    file: MediaFile,
    content: MediaContent,
    context: MediaContext,
  ): Promise<Prepared<SendContent>> {
    const plainName = safeFileName(content.fileName ?? file.fileName, file.mimeType, content.type);
    const fileName = nameFor(form, plainName, file.mimeType);
    switch (form.kind) {
      case "image": {
        const sent = await this.#upload(file, "image", fileName, context);
        return ready(sent, (mediaId) => ({ type: "image", mediaId }));
      }
      case "audio": {
        const sent = await this.#upload(file, "voice", fileName, context);
        return ready(sent, (mediaId) => ({ type: "audio", mediaId, durationMs: form.durationMs }));
      }
      case "file": {
        const sent = await this.#upload(file, "file", fileName, context);
        return ready(sent, (mediaId) => ({ type: "file", mediaId, fileName, fileType: form.fileType }));
      }
      case "packed": {
        const sent = await this.#uploadPacked(file, plainName, fileName, context);
        return ready(sent, (mediaId) => ({ type: "file", mediaId, fileName, fileType: "zip" }));
      }
      case "video": {
        const cover = await this.#cover(content.cover, context);
        if (cover.kind !== "done") return cover;
        const sent = await this.#upload(file, "video", fileName, context);
        const { width, height } = file;
        const size = width === undefined || height === undefined ? {} : { width, height };
        return ready(
          sent,
          (mediaId) => ({ type: "video", mediaId, coverId: cover.value, durationMs: form.durationMs, ...size }),
          [cover.value],
        );
      }
    }
  }

  /** DingTalk's id of a picture that stands in a text. What DingTalk does not show as a picture is `media_unsupported`. */
  async picture(reference: MediaReference, context: MediaContext): Promise<Step<string>> {
    const resolved = await this.#resolve(reference, "image", undefined, context, IMAGE_FETCH_MS);
    if (resolved.kind !== "done") return resolved;
    const file = resolved.value;
    if (!isShownImage(file)) return rejected("media_unsupported", `DingTalk shows no ${file.mimeType} as a picture`);
    const fileName = nameFor({ kind: "image" }, safeFileName(file.fileName, file.mimeType, "image"), file.mimeType);
    return this.#upload(file, "image", fileName, context);
  }

  async #resolve(
    reference: MediaReference,
    type: MediaType,
    fileName: string | undefined,
    context: MediaContext,
    timeoutMs: number,
  ): Promise<Step<MediaFile>> {
    const { store, publicUrl } = this.#options;
    const own = ownMedia(reference, publicUrl());
    if ("url" in own) return this.#fetch(own.url, type, fileName, context, timeoutMs);
    const file = store.find(own.id);
    if (!file || file.account !== context.account) {
      return rejected("media_unknown", `there is no file ${own.id} (any more)`);
    }
    return file.bytes > LARGEST_BYTES ? tooLarge(file.bytes) : { kind: "done", value: file };
  }

  async #fetch(
    url: string,
    type: MediaType,
    fileName: string | undefined,
    context: MediaContext,
    timeoutMs: number,
  ): Promise<Step<MediaFile>> {
    const { store, files, fetch, clock } = this.#options;
    const { account, seq, attempts } = context;
    const key = `${seq}\n${url}`;
    const known = store.find(this.#fetched.get(key) ?? "");
    if (known) return { kind: "done", value: known };
    const maxBytes = Math.min(this.#options.maxBytes, LARGEST_BYTES);
    const signal = AbortSignal.any([context.signal, this.#stop.signal]);
    try {
      const fetched = await fetch(url, { maxBytes, timeoutMs, signal });
      try {
        const about = { account, origin: "url" as const, maxBytes, createdAt: clock.now(), type, signal };
        const file = await files.write(fetched.body, { ...about, fileName: fileName ?? fetched.fileName });
        await store.add(file, seq).catch(async (thrown: unknown) => {
          // Each attempt would leave another one, on a disk that may be full as it is.
          await files.remove([file.id]);
          throw thrown;
        });
        this.#remember(key, file.id);
        return { kind: "done", value: file };
      } finally {
        await fetched.close();
      }
    } catch (thrown) {
      return failureOf(thrown, attempts);
    }
  }

  #remember(key: string, id: string): void {
    const [oldest] = this.#fetched.keys();
    if (this.#fetched.size >= REMEMBERED && oldest !== undefined) this.#fetched.delete(oldest);
    this.#fetched.set(key, id);
  }

  #upload(
    file: MediaFile,
    type: "image" | "voice" | "video" | "file",
    fileName: string,
    context: MediaContext,
  ): Promise<Step<string>> {
    const { uploads, files } = this.#options;
    return uploads.idOf({ sha256: file.sha256, as: type, type }, context, (upload) =>
      upload({ path: files.pathOf(file.id), fileName, mimeType: file.mimeType, type }),
    );
  }

  /** The archive is needed for the upload only; what a crash leaves of it the next start removes. */
  #uploadPacked(file: MediaFile, innerName: string, fileName: string, context: MediaContext): Promise<Step<string>> {
    const { uploads, files } = this.#options;
    // The same file under another name is another archive.
    const identity = { sha256: file.sha256, as: `packed:${innerName}`, type: "file" } as const;
    return uploads.idOf(identity, context, async (upload) => {
      const archive = await this.#temporary(zipOf(files.pathOf(file.id), innerName), fileName, context);
      if (archive.kind !== "done") return archive;
      const { id, mimeType } = archive.value;
      try {
        return await upload({ path: files.pathOf(id), fileName, mimeType, type: "file" });
      } finally {
        await files.remove([id]);
      }
    });
  }

  /** A cover that cannot be had is no reason not to send the video. */
  async #cover(reference: MediaReference | undefined, context: MediaContext): Promise<Step<string>> {
    if (reference) {
      const own = await this.picture(reference, context);
      if (own.kind !== "rejected" && !(own.kind === "retry" && own.class === "entry")) return own;
      this.#options.logger.warn({ account: context.account, code: own.code, detail: own.detail }, "no video cover");
    }
    const { uploads, files } = this.#options;
    const fileName = "cover.png";
    return uploads.idOf({ sha256: PLAIN_COVER_SHA256, as: "image", type: "image" }, context, async (upload) => {
      const cover = await this.#temporary(once(PLAIN_COVER), fileName, context);
      if (cover.kind !== "done") return cover;
      const { id, mimeType } = cover.value;
      try {
        return await upload({ path: files.pathOf(id), fileName, mimeType, type: "image" });
      } finally {
        await files.remove([id]);
      }
    });
  }

  async #temporary(
    source: AsyncIterable<Uint8Array>,
    fileName: string,
    { account, attempts, signal }: MediaContext,
  ): Promise<Step<MediaFile>> {
    const { files, clock } = this.#options;
    try {
      const about = { account, origin: "upload" as const, maxBytes: LARGEST_BYTES, createdAt: clock.now(), signal };
      return { kind: "done", value: await files.write(source, { ...about, fileName }) };
    } catch (thrown) {
      return failureOf(thrown, attempts);
    }
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

function ready(
  sent: Step<string>,
  make: (mediaId: string) => SendContent,
  others: readonly string[] = [],
): Prepared<SendContent> {
  if (sent.kind !== "done") return sent;
  return { kind: "ready", content: make(sent.value), mediaIds: [sent.value, ...others] };
}

function rejected(code: ErrorCode, detail: string): Failure {
  return { kind: "rejected", code, detail };
}

function tooLarge(bytes: number): Failure {
  return rejected("media_too_large", `${bytes} bytes; DingTalk takes ${LARGEST_BYTES} at most`);
}

/** What fetching and writing throw. @throws what is a fault of our own, again */
function failureOf(thrown: unknown, attempts: number): Failure {
  if (!(thrown instanceof BridgeError)) throw thrown;
  const { code, message: detail, retryable } = thrown;
  if (NOT_ITS_FAULT.has(code)) return { kind: "retry", code, class: "peer-away", detail };
  if (retryable && attempts + 1 < TRIES) return { kind: "retry", code, class: "entry", detail };
  return rejected(code, detail);
}
