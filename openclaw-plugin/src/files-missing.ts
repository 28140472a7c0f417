import type { EnvelopePart } from "./types.ts";

/** Why a file is missing, in words for the agent. The bridge's own detail may hold DingTalk's words and ids: they are for the log. */
const REASONS: Readonly<Record<string, string>> = {
  media_expired: "it is no longer kept by DingTalk",
  media_too_large: "it is too large",
  media_empty: "it is empty",
  media_unsupported: "it is of a kind that cannot be read",
  media_url_refused: "DingTalk named an address that is not allowed",
  media_not_fetched: "it could not be fetched from DingTalk",
  disk_low: "there is no room left to keep it",
  dingtalk_quota_exhausted: "the month's calls of DingTalk's API are used up",
  dingtalk_permission_missing: "the DingTalk app lacks the permission to fetch files",
};
const UNKNOWN = "it could not be fetched";

/** A plain English reason for what the bridge says of a part that it could not fetch. */
export function reasonFor({ code, detail }: NonNullable<EnvelopePart["error"]>): string {
  // A failure that is not the file's own stands before the detail, with its code.
  const [, cause = ""] = /^([a-z][a-z0-9_]*): /.exec(detail) ?? [];
  return REASONS[cause] ?? REASONS[code] ?? UNKNOWN;
}
