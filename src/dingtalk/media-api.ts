import { openAsBlob } from "node:fs";
import { stat } from "node:fs/promises";
import { type Dispatcher, FormData } from "undici";
import type { Account } from "../domain/account.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Failure, judgeDownload, judgeUpload } from "./answers.ts";
import { AuthorisedApi } from "./authorised.ts";
import { createHttpCall, type HttpCall } from "./http.ts";
import type { TokenSource } from "./token.ts";

/** A file that is to be uploaded, and as what. */
export interface MediaUpload {
  path: string;
  /** With the extension by which DingTalk knows the type. */
  fileName: string;
  mimeType: string;
  type: "image" | "voice" | "video" | "file";
}

/** 20 MB within this time need 1.4 Mbit/s. */
const UPLOAD_TIMEOUT_MS = 120_000;

/**
 * Files in both directions for one account. Nothing here throws for what DingTalk, the network or the file system does.
 * Neither call does harm when it is made twice, so `uncertain` may be tried again.
 */
export class MediaApi {
  readonly #robotCode: string;
  readonly #api: AuthorisedApi;
  readonly #oapi: AuthorisedApi;

  constructor(options: {
    account: Account;
    /** `https://api.dingtalk.com`, another region, or a simulator. */
    apiBase: string;
    /** `https://oapi.dingtalk.com`, another region, or a simulator. */
    oapiBase: string;
    call: HttpCall;
    /** For uploads, which take longer than other calls may. */
    dispatcher: Dispatcher;
    tokens: TokenSource;
    userAgent: string;
    logger: Logger;
    metrics: Metrics;
    /** For a whole upload; default two minutes. */
    timeoutMs?: number;
  }) {
    const { oapiBase, dispatcher, logger, userAgent, timeoutMs = UPLOAD_TIMEOUT_MS } = options;
    this.#robotCode = options.account.robotCode;
    this.#api = new AuthorisedApi(options);
    const call = createHttpCall({ dispatcher, logger, userAgent, timeoutMs });
    this.#oapi = new AuthorisedApi({ ...options, apiBase: oapiBase, call });
  }

  /**
   * The address of a file that somebody sent to the robot, from the download code in the message
   * (`POST /v1.0/robot/messageFiles/download`, dingtalk-protocol.md §3.9). The address is signed, works without token for a
   * time that is not documented, and is `http:` or `https:`. `rejected: media_expired` = the code is wrong, has expired, or is
   * another robot's.
   */
  async downloadUrl(code: string, signal?: AbortSignal): Promise<{ kind: "done"; url: string } | Failure> {
    const judged = await this.#api.request({
      method: "POST",
      path: "/v1.0/robot/messageFiles/download",
      json: { downloadCode: code, robotCode: this.#robotCode },
      signal,
      judge: judgeDownload,
    });
    return judged.kind === "done" ? { kind: "done", url: judged.value } : judged;
  }

  /**
   * Uploads a file from disk, as it is read (`POST /media/upload`, dingtalk-protocol.md §3.8). `mediaId` can be sent any number
   * of times. `rejected`: media_unsupported (type or extension), media_too_large, media_empty, media_unknown (the file is not
   * there).
   */
  async upload(file: MediaUpload, signal?: AbortSignal): Promise<{ kind: "done"; mediaId: string } | Failure> {
    const { path, fileName, mimeType, type } = file;
    const form = new FormData();
    try {
      // DingTalk looks for this name.
      form.append("media", await openAsBlob(path, { type: mimeType }), fileName);
    } catch {
      return unopened(path);
    }
    const judged = await this.#oapi.request({
      method: "POST",
      path: "/media/upload",
      tokenIn: "query",
      query: { type },
      form,
      signal,
      judge: judgeUpload,
    });
    return judged.kind === "done" ? { kind: "done", mediaId: judged.value } : judged;
  }
}

/** `openAsBlob` does not say why it failed. */
async function unopened(path: string): Promise<Failure> {
  const reason = await stat(path).then(
    () => "cannot be opened",
    (error: NodeJS.ErrnoException) => error.code ?? "",
  );
  if (reason === "ENOENT") return { kind: "rejected", code: "media_unknown", detail: "the file is not there any more" };
  return { kind: "retry", class: "entry", code: "store_unavailable", detail: `the file is not readable (${reason})` };
}
