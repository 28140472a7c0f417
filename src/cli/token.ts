import type { Config } from "../app.ts";
import { deriveToken } from "../domain/account.ts";

/**
 * `dingtalk-bridge token`: the token that each account's gateway has to use when none is set, one line each.
 * With one there is nothing to print that its owner does not have.
 */
export function tokenLines(config: Config): string {
  if (config.tokens.length > 0) return "BRIDGE_TOKEN is set: both sides use that.\n";
  const accounts = config.accounts.filter(({ enabled }) => enabled);
  return accounts
    .map((account) =>
      account.tokens === undefined
        ? `${account.name}  ${deriveToken(account.appKey, account.appSecret)}\n`
        : `${account.name}  bridgeToken of OpenClaw's file is set: both sides use that.\n`,
    )
    .join("");
}
