/**
 * Every reason the bridge can give, as a closed list: logs, metrics, the API's problem documents and dead letters use
 * these words and no others.
 */
export type ErrorCode =
  // starting up
  | "config_invalid"
  | "data_dir_locked"
  | "data_dir_unusable"
  | "schema_newer"
  | "schema_older"
  | "port_unavailable"
  // DingTalk Stream
  | "stream_bad_credentials"
  | "stream_refused"
  | "stream_unavailable"
  | "stream_timeout"
  | "stream_bad_answer"
  | "stream_unreachable"
  | "stream_handshake_failed"
  // store and queues
  | "store_unavailable"
  | "queue_full"
  | "disk_low"
  | "crash_loop"
  | "too_old"
  | "interrupted"
  | "attempts_exhausted"
  // inbound
  | "stopped"
  | "person_limit"
  | "unreadable"
  | "quota_exhausted"
  // gateway
  | "gateway_unreachable"
  | "gateway_timeout"
  | "gateway_unavailable"
  | "gateway_misconfigured"
  | "gateway_bad_answer"
  | "invalid_envelope"
  | "unsupported_version"
  | "rejected"
  // DingTalk Open API and webhooks
  | "dingtalk_unreachable"
  | "dingtalk_timeout"
  | "dingtalk_unavailable"
  | "dingtalk_throttled"
  | "dingtalk_bad_answer"
  | "dingtalk_bad_credentials"
  | "dingtalk_permission_missing"
  | "dingtalk_ip_not_allowed"
  | "dingtalk_ip_blocked"
  | "dingtalk_quota_exhausted"
  | "dingtalk_rejected"
  | "webhook_expired"
  | "recipient_unknown"
  | "recipient_throttled"
  | "message_too_long"
  | "no_route"
  | "pacing"
  | "account_unknown"
  | "account_paused"
  // media
  | "media_pending"
  | "media_not_fetched"
  | "media_expired"
  | "media_too_large"
  | "media_empty"
  | "media_unsupported"
  | "media_unknown"
  | "media_url_refused"
  // cards
  | "card_template_missing"
  | "card_unknown"
  // replies that grow
  | "stream_unknown"
  | "stream_closed"
  // the API
  | "unauthorized"
  | "invalid_request"
  | "account_required"
  | "account_forbidden"
  | "content_type_not_supported"
  | "idempotency_key_reused"
  | "not_found"
  | "already_sent"
  | "recalled"
  | "not_cancellable"
  | "not_finished"
  | "erased"
  | "stopping"
  | "internal";

/** An error that says which of the closed codes it is and whether trying again can help. `cause` keeps the original. */
export class BridgeError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** What the operator can do about it, when we know. */
  readonly mend: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { retryable?: boolean; cause?: unknown; mend?: string | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BridgeError";
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.mend = options.mend;
  }
}

/** Whatever was thrown, as an Error: used at every `catch` that passes the thing on. */
export function coerceError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new Error(
    typeof thrown === "string" ? thrown : `non-error thrown: ${JSON.stringify(thrown) ?? String(thrown)}`,
  );
}
