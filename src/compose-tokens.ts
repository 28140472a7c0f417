import type { Config } from "./config.ts";
import { type Account, deriveToken } from "./domain/account.ts";
import type { Grant } from "./http/auth.ts";

export function derivedToken(account: Account | undefined): string {
  return account ? deriveToken(account.appKey, account.appSecret) : "";
}

/** BRIDGE_TOKEN speaks for all accounts; without it each account's derived token speaks for its own. */
export function grantsOf(config: Config, accounts: Map<string, Account>): Grant[] {
  if (config.tokens.length > 0) return config.tokens.map((token) => ({ token, scope: { account: undefined } }));
  return [...accounts.values()].map((account) => ({ token: derivedToken(account), scope: { account: account.name } }));
}
