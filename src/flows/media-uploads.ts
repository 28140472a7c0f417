import type { Failure } from "../dingtalk/answers.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { MediaStore } from "../queue/media-store.ts";
import type { AccountSender, Uploaded } from "./account.ts";
import { callApi } from "./api-call.ts";
import { later } from "./outbound-roads.ts";

export interface MediaUploadsOptions {
  store: Pick<MediaStore, "uploaded" | "rememberUpload" | "forgetUpload">;
  clock: Clock;
  metrics: Metrics;
}

export interface UploadContext {
  account: string;
  lane: string;
  sender: AccountSender;
  signal: AbortSignal;
}

/** What is uploaded: these bytes, as this type of DingTalk's; `as` names what is made of the bytes before. */
export interface UploadIdentity {
  sha256: string;
  as: string;
  type: "image" | "voice" | "video" | "file";
}

type UploadFile = Parameters<AccountSender["upload"]>[0];
/** What one step of making a file ready came to. */
export type Step<T> = { kind: "done"; value: T } | Failure;

/** How long DingTalk's id of an uploaded file is used again; how long it lives is not documented (dingtalk-protocol.md §3.8). */
const KEPT_MS = 7 * 24 * 60 * 60_000;
/** Until it is looked again whether uploads are taken. */
const LATER_MS = 1_000;

/** Uploads to DingTalk, each file once: the id that DingTalk gave it is kept, also over a restart. */
export class MediaUploads {
  readonly #options: MediaUploadsOptions;
  /** Under way, by account and identity. */
  readonly #running = new Map<string, Promise<Step<string>>>();

  constructor(options: MediaUploadsOptions) {
    this.#options = options;
  }

  /** DingTalk's id of what was uploaded before; else `make` is to produce the file and upload it. */
  idOf(
    { sha256, as, type }: UploadIdentity,
    context: UploadContext,
    make: (upload: (file: UploadFile) => Promise<Step<string>>) => Promise<Step<string>>,
  ): Promise<Step<string>> {
    const { store, clock } = this.#options;
    const { account } = context;
    const kind = as === type ? type : `${type}:${as}`;
    const known = store.uploaded(account, sha256, kind, clock.now() - KEPT_MS);
    if (known !== undefined) return Promise.resolve({ kind: "done", value: known });
    const key = `${account}\n${sha256}\n${kind}`;
    const running = this.#running.get(key) ?? this.#make(key, { account, sha256, type: kind }, context, make);
    this.#running.set(key, running);
    return running;
  }

  /** DingTalk does not know these any more: the next send uploads again. */
  async forget(account: string, mediaIds: readonly string[]): Promise<void> {
    for (const id of mediaIds) await this.#options.store.forgetUpload(account, id);
  }

  async #make(
    key: string,
    row: { account: string; sha256: string; type: string },
    context: UploadContext,
    make: (upload: (file: UploadFile) => Promise<Step<string>>) => Promise<Step<string>>,
  ): Promise<Step<string>> {
    try {
      const made = await make((file) => this.#upload(file, context));
      if (made.kind === "done") {
        const { store, clock } = this.#options;
        // Not known next time, it is uploaded once more: no reason to hold this message up.
        await store.rememberUpload({ ...row, mediaId: made.value, at: clock.now() }).catch(() => undefined);
      }
      return made;
    } finally {
      this.#running.delete(key);
    }
  }

  /** Uploading twice does no harm, so an upload without an answer is simply made again. */
  async #upload(file: UploadFile, { account, lane, sender, signal }: UploadContext): Promise<Step<string>> {
    if (!sender.gates.upload.admits) return later("pacing", "uploads pause", LATER_MS);
    const seen: { uploaded?: Uploaded } = {};
    const outcome = await callApi(sender, { account, api: "upload", lane }, this.#options.metrics, async () => {
      seen.uploaded = await sender.upload(file, signal);
      return asOutcome(seen.uploaded);
    });
    if (outcome.kind === "delivered" && seen.uploaded?.kind === "done") {
      return { kind: "done", value: seen.uploaded.mediaId };
    }
    if (outcome.kind === "rejected" || outcome.kind === "retry") return outcome;
    const { code = "internal", detail = "" } = "code" in outcome ? outcome : {};
    // Others get answers: this file is the trouble, and must not hold its conversation up until the message dies of age.
    const isOwn = outcome.kind === "uncertain" && outcome.counted === true;
    return { kind: "retry", code, class: isOwn ? "entry" : "peer-away", detail };
  }
}

function asOutcome(uploaded: Uploaded): Outcome {
  return uploaded.kind === "done" ? { kind: "delivered" } : uploaded;
}
