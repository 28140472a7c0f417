import type { Config } from "./config.ts";
import { type Account, tokensOf } from "./domain/account.ts";
import type { Grant } from "./http/auth.ts";

/** What is sent to the gateway; empty for an account that is not configured. */
export function tokenFor(config: Config, account: Account | undefined): string {
  return account ? (tokensOf(account, config.tokens)[0] ?? "") : "";
}

/** BRIDGE_TOKEN speaks for all accounts, and so does a token that several accounts have; any other for its own account. */
export function grantsOf(config: Config, accounts: readonly Account[]): Grant[] {
  const holders = new Map<string, string[]>();
  for (const token of config.tokens)
    holders.set(
      token,
      accounts.map(({ name }) => name),
    );
  for (const account of config.tokens.length > 0 ? [] : accounts) {
    for (const token of tokensOf(account, [])) holders.set(token, [...(holders.get(token) ?? []), account.name]);
  }
  return [...holders].map(([token, [name, ...others]]) => ({
    token,
    scope: { account: config.tokens.length > 0 || others.length > 0 ? undefined : name },
  }));
}
