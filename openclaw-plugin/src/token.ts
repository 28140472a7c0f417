import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/**
 * The bearer token that bridge and plugin both compute when no shared secret is configured:
 * base64url(HMAC-SHA256(App Secret, "dingtalk-bridge:v1:" + App Key)). Nothing has to be carried from one to the other.
 */
export function deriveToken(appKey: string, appSecret: string): string {
  return createHmac("sha256", appSecret).update(`dingtalk-bridge:v1:${appKey}`).digest("base64url");
}

/** A shared secret may be two, separated by a comma, while it is being changed: both accepted, the first one sent. */
export function splitSharedToken(shared: string): string[] {
  return shared
    .split(",")
    .map((token) => token.trim())
    .filter((token) => token !== "");
}

/** The token of an `Authorization: Bearer …` header. */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer[ \t]+(\S+)$/i.exec(header ?? "")?.[1];
}

/** Compares digests, so the time taken says nothing about the secret, its length included. */
export function tokenMatches(given: string, accepted: readonly string[]): boolean {
  const digest = sha256(given);
  let matches = false;
  for (const token of accepted) {
    if (timingSafeEqual(digest, sha256(token))) matches = true;
  }
  return matches;
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
