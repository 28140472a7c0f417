import { isDeepStrictEqual } from "node:util";
import { type AccountConfig, type Config, listSettings } from "./config-schema.ts";

/** What a second reading of the settings changes for accounts, by name. A disabled account is none. */
export interface AccountChanges {
  added: string[];
  removed: string[];
  /** The same app with another secret: its connection is replaced, nothing else ends. */
  rekeyed: string[];
  /** Another app or another robot code: the old connection ends, then the new one begins. */
  replaced: string[];
  /** Something that needs no connection: its token, its name, how its replies look. */
  changed: string[];
}

export function accountChanges(before: readonly AccountConfig[], after: readonly AccountConfig[]): AccountChanges {
  const [old, now] = [enabled(before), enabled(after)];
  const changes: AccountChanges = { added: [], removed: [], rekeyed: [], replaced: [], changed: [] };
  for (const name of old.keys()) if (!now.has(name)) changes.removed.push(name);
  for (const [name, account] of now) {
    const known = old.get(name);
    if (!known) changes.added.push(name);
    else if (known.appKey !== account.appKey || known.robotCode !== account.robotCode) changes.replaced.push(name);
    else if (known.appSecret !== account.appSecret) changes.rekeyed.push(name);
    else if (!isDeepStrictEqual(known, account)) changes.changed.push(name);
  }
  return changes;
}

export function enabled(accounts: readonly AccountConfig[]): Map<string, AccountConfig> {
  return new Map(accounts.filter((account) => account.enabled).map((account) => [account.name, account]));
}

/** Paths of the limits that differ. */
export function limitChanges(before: Config["limits"], after: Config["limits"]): string[] {
  const names = Object.keys(after) as (keyof Config["limits"])[];
  return names.filter((name) => !isDeepStrictEqual(before[name], after[name])).map((name) => `limits.${name}`);
}

/**
 * Paths of the settings that differ and are read at the start only. `reply.*` is none of them: it is what accounts have where they
 * say nothing else.
 */
export function restartNeeded(before: Config, after: Config): string[] {
  return listSettings()
    .map(({ path }) => path)
    .filter((path) => !path.startsWith("limits.") && !path.startsWith("reply."))
    .filter((path) => !isDeepStrictEqual(valueAt(before, path), valueAt(after, path)));
}

function valueAt(config: Config, path: string): unknown {
  if (path === "token") return config.tokens;
  let found: unknown = config;
  for (const key of path.split(".")) found = (found as Record<string, unknown>)[key];
  return found;
}
