import { BridgeError, type ErrorCode } from "../domain/errors.ts";
import type { Failure } from "../dingtalk/answers.ts";

/** Further tries cannot change these: the part tells them. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "media_expired",
  "media_too_large",
  "media_empty",
  "media_unsupported",
  "media_url_refused",
  "disk_low",
]);

/** These can be changed, but only by a person or another month: no conversation waits for that. */
const NOT_SOON: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "dingtalk_quota_exhausted",
  "dingtalk_permission_missing",
  "dingtalk_bad_credentials",
  "dingtalk_ip_not_allowed",
]);

/** DingTalk gave no URL for a download code. */
export class ExchangeError extends BridgeError {
  /** It asks for so much patience. */
  readonly afterMs: number;
  /** It said no, and will say so again. */
  readonly isRefusal: boolean;

  constructor(answer: Failure) {
    super(answer.code, answer.detail ?? "", { retryable: answer.kind !== "rejected" });
    this.afterMs = answer.kind === "retry" ? (answer.afterMs ?? 0) : 0;
    this.isRefusal = answer.kind === "rejected";
  }
}

/** What a failed try at a file means. */
export interface FetchFailure {
  /** For the part, should this be the last. */
  error: { code: ErrorCode; detail: string };
  isFinal: boolean;
  /** It says something about the file. */
  counts: boolean;
  /** Milliseconds; 0: as it suits. */
  afterMs: number;
}

export function failureOf(thrown: Error): FetchFailure {
  const code = thrown instanceof BridgeError ? thrown.code : "internal";
  const exchange = thrown instanceof ExchangeError ? thrown : undefined;
  const isPlain = FINAL.has(code) || code === "media_not_fetched";
  return {
    error: isPlain
      ? { code, detail: thrown.message }
      : { code: "media_not_fetched", detail: `${code}: ${thrown.message}` },
    isFinal: FINAL.has(code) || NOT_SOON.has(code) || (exchange?.isRefusal ?? false),
    counts: code !== "dingtalk_throttled",
    afterMs: exchange?.afterMs ?? 0,
  };
}
