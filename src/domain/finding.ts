/** `note`: worth knowing, or not checked. Only `error` makes the doctor end with 1. */
export type FindingLevel = "ok" | "note" | "warning" | "error";

/** What was looked at, in the order of the report. */
export const CHECKS = [
  "node",
  "settings",
  "data_dir",
  "bridge",
  "dns",
  "proxy",
  "network",
  "clock",
  "credentials",
  "stream",
  "robot",
  "permission",
  "card_template",
  "gateway",
  "plugin",
  "token",
  "app_key",
  "gateway_calls",
  "quota",
  "dead_letters",
  "alerts",
  "send",
] as const;

export type CheckName = (typeof CHECKS)[number];

/**
 * Codes of the doctor's own. Besides, a finding has the code of the failure behind it: of the connection, of the gateway, of a component
 * of the running bridge (all in docs/operations.md).
 */
export const FINDING_CODES = [
  "ok",
  "skipped",
  "timed_out",
  "node_too_old",
  "config_invalid",
  "config_note",
  "data_dir_unusable",
  "data_dir_readable",
  "data_dir_owner",
  "data_dir_network",
  "disk_low",
  "bridge_unreachable",
  "bridge_other",
  "bridge_version",
  "port_taken",
  "dns_failed",
  "proxy_ignored",
  "clock_off",
  "no_message_yet",
  "robot_code_wrong",
  "robot_stopped",
  "dingtalk_permission_missing",
  "permission_unknown",
  "card_template_missing",
  "card_template_unknown",
  "plugin_version",
  "gateway_silent",
  "quota_high",
  "quota_exhausted",
  "dead_letters",
  "alerts_off",
  "not_delivered",
  "not_delivered_yet",
] as const;

export interface Finding {
  check: CheckName;
  /** One of FINDING_CODES, or that of the failure behind it. */
  code: string;
  level: FindingLevel;
  /** Absent for what concerns the whole. */
  account?: string;
  /** A sentence. */
  text: string;
  /** A command, or a place in the console. */
  mend?: string;
}

type More = Pick<Finding, "account" | "mend">;

export const fine = (check: CheckName, text: string, more: More = {}): Finding => ({
  check,
  code: "ok",
  level: "ok",
  text,
  ...more,
});

export const skipped = (check: CheckName, text: string, more: More = {}): Finding => ({
  check,
  code: "skipped",
  level: "note",
  text: `not checked: ${text}`,
  ...more,
});
