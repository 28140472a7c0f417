import { createHmac } from "node:crypto";

/** One DingTalk robot: an internal app's credentials and its robot code (dingtalk-protocol.md §0.4). */
export interface Account {
  /** `[a-z0-9][a-z0-9_-]{0,31}`; `main` is OpenClaw's `default`. */
  name: string;
  appKey: string;
  appSecret: string;
  /** Equal to the App Key for an internal app's robot. */
  robotCode: string;
}

export const ACCOUNT_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;

/** `main` and OpenClaw's implicit `default` are one account. */
export function canonicalAccountName(name: string): string {
  return name === "default" ? "main" : name;
}

/**
 * The token both sides compute when no BRIDGE_TOKEN is set:
 * base64url(HMAC-SHA256(App Secret, "dingtalk-bridge:v1:" + App Key)).
 */
export function deriveToken(appKey: string, appSecret: string): string {
  return createHmac("sha256", appSecret).update(`dingtalk-bridge:v1:${appKey}`).digest("base64url");
}
