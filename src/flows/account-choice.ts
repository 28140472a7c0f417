import { BridgeError } from "../domain/errors.ts";
import type { Scope } from "./messages.ts";

/**
 * The account that a call is for: the token's own, the one that it names, the one that `inReplyTo` (an envelope id)
 * begins with, the only one. Throws BridgeError `account_forbidden`, `account_unknown` or `account_required`.
 */
export function chooseAccount(
  asked: { account?: string | undefined; inReplyTo?: string | undefined },
  scope: Scope,
  known: readonly string[],
): string {
  // What OpenClaw calls its first account.
  const named = asked.account === "default" ? "main" : asked.account;
  if (scope.account !== undefined) {
    if (named === undefined || named === scope.account) return scope.account;
    throw new BridgeError("account_forbidden", `this token speaks for account ${scope.account} only`);
  }
  if (named !== undefined) {
    if (known.includes(named)) return named;
    throw new BridgeError(
      "account_unknown",
      `account: there is no account ${JSON.stringify(named)}; known: ${known.join(", ")}`,
    );
  }
  const fromReply = asked.inReplyTo?.slice(0, Math.max(0, asked.inReplyTo.indexOf(":")));
  if (fromReply !== undefined && known.includes(fromReply)) return fromReply;
  if (known.length === 1 && known[0] !== undefined) return known[0];
  throw new BridgeError("account_required", `account: name one of ${known.join(", ")}`);
}
