import { createHmac } from "node:crypto";

/** One DingTalk robot: an internal app's credentials and its robot code (dingtalk-protocol.md §0.4). */
export interface Account {
  /** `[a-z0-9][a-z0-9_-]{0,31}`; `main` is OpenClaw's `default`. */
  name: string;
  appKey: string;
  appSecret: string;
  /** Equal to the App Key for an internal app's robot. */
  robotCode: string;
  /** Shared with its gateway alone, where that was given a token. */
  tokens?: readonly string[];
  /** What people call the robot. */
  botName?: string;
}

export const ACCOUNT_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;

/** `main` and OpenClaw's implicit `default` are one account. */
export function canonicalAccountName(name: string): string {
  return name === "default" ? "main" : name;
}

/**
 * The tokens that bridge and gateway prove themselves with where it concerns this account: the first is sent, all are accepted.
 * `shared`: those of BRIDGE_TOKEN, which speak for all accounts and go before any other.
 */
export function tokensOf(account: Account, shared: readonly string[]): readonly string[] {
  if (shared.length > 0) return shared;
  return account.tokens ?? [deriveToken(account.appKey, account.appSecret)];
}

/**
 * The token both sides compute when none is set:
 * base64url(HMAC-SHA256(App Secret, "dingtalk-bridge:v1:" + App Key)).
 */
export function deriveToken(appKey: string, appSecret: string): string {
  return createHmac("sha256", appSecret).update(`dingtalk-bridge:v1:${appKey}`).digest("base64url");
}
