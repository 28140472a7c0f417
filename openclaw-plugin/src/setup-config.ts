import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import {
  CHANNEL,
  DEFAULT_ACCOUNT,
  MAIN_ACCOUNT,
  type Section,
  accountSections,
  channelSection,
  hasCredentials,
  withoutCredentials,
} from "./accounts.ts";
import type { SetupInput } from "./setup-input.ts";

/** Where the main account stands, or will: directly under `channels.dingtalk` only where somebody wrote it there by hand. */
export function setupAccountId(cfg: OpenClawConfig, requested: string | undefined): string {
  const id = requested?.trim().toLowerCase() ?? "";
  if (!["", MAIN_ACCOUNT, DEFAULT_ACCOUNT].includes(id)) return id;
  const section = channelSection(cfg);
  const accounts = accountSections(section);
  if (accounts[MAIN_ACCOUNT]) return MAIN_ACCOUNT;
  return accounts[DEFAULT_ACCOUNT] || hasCredentials(section) ? DEFAULT_ACCOUNT : MAIN_ACCOUNT;
}

/**
 * Writes what was told and keeps everything else. A new account is switched on, and gets `dmPolicy: "pairing"` unless a policy holds for it already:
 * for all accounts when it is the first one, for itself alone when there are others, whose policy must not change.
 */
export function writeAccount(cfg: OpenClawConfig, accountId: string, input: SetupInput): OpenClawConfig {
  const before = channelSection(cfg);
  const own = ownSettings(before, accountId);
  const alone = !hasOthers(before, accountId);
  const account: Section = { ...own };
  if (account["enabled"] === false) account["enabled"] = true;
  if (input.appKey) account[present(account, "clientId", "appKey")] = input.appKey;
  if (input.appSecret) account[present(account, "clientSecret", "appSecret")] = input.appSecret;
  if (input.botName) account["botName"] = input.botName;

  const shared: Section = { ...before, enabled: true };
  const place = (key: string, value: string): void => {
    if (key in account || !alone) account[key] = value;
    else shared[key] = value;
  };
  if (input.dmPolicy) place("dmPolicy", input.dmPolicy);
  else if (!own && before["dmPolicy"] === undefined) place("dmPolicy", "pairing");
  for (const key of ["bridgeUrl", "bridgeToken"] as const) if (input[key]) place(key, input[key]);
  return withSection(cfg, withOwn(shared, accountId, account));
}

/**
 * Sets or, with `undefined`, removes one setting where it holds for the account: in the account when it stands there, else for all. What
 * stands nowhere yet is written for all only where the account is the only one.
 */
export function writeSetting(cfg: OpenClawConfig, accountId: string, key: string, value: unknown): OpenClawConfig {
  const section = channelSection(cfg);
  const own = accountSections(section)[accountId];
  const change = (target: Section): Section => {
    const { [key]: _removed, ...rest } = target;
    return value === undefined ? rest : { ...rest, [key]: value };
  };
  const isOwn = own && (key in own || (value !== undefined && !(key in section) && hasOthers(section, accountId)));
  if (isOwn) return withSection(cfg, withOwn(section, accountId, change(own)));
  return withSection(cfg, change(section));
}

export function setAccountEnabled(cfg: OpenClawConfig, accountId: string, enabled: boolean): OpenClawConfig {
  const section = channelSection(cfg);
  const own = ownSettings(section, accountId) ?? {};
  const on = enabled ? { ...section, enabled: true } : section;
  return withSection(cfg, withOwn(on, accountId, { ...own, enabled }));
}

/** Without its last account the section goes, too: what is left would be an account made of the environment. */
export function deleteAccount(cfg: OpenClawConfig, accountId: string): OpenClawConfig {
  const section = channelSection(cfg);
  if (hasOthers(section, accountId)) {
    const { [accountId]: _removed, ...accounts } = accountSections(section);
    return withSection(cfg, { ...(accountId === DEFAULT_ACCOUNT ? withoutCredentials(section) : section), accounts });
  }
  const { [CHANNEL]: _section, ...channels } = cfg.channels ?? {};
  return { ...cfg, channels };
}

function hasOthers(section: Section, accountId: string): boolean {
  const others = Object.keys(accountSections(section)).filter((id) => id !== accountId);
  return others.length > 0 || (accountId !== DEFAULT_ACCOUNT && hasCredentials(section));
}

/** The section in which the account stands; undefined when there is none yet. */
function ownSettings(section: Section, accountId: string): Section | undefined {
  const own = accountSections(section)[accountId];
  if (own) return own;
  return accountId === DEFAULT_ACCOUNT && hasCredentials(section) ? section : undefined;
}

function withOwn(section: Section, accountId: string, own: Section): Section {
  const accounts = accountSections(section);
  if (accountId === DEFAULT_ACCOUNT && !accounts[DEFAULT_ACCOUNT]) {
    return { ...section, ...own };
  }
  return { ...section, accounts: { ...accounts, [accountId]: own } };
}

function withSection(cfg: OpenClawConfig, section: Section): OpenClawConfig {
  return { ...cfg, channels: { ...cfg.channels, [CHANNEL]: section } };
}

/** The name under which the setting stands already. */
function present(section: Section, other: string, usual: string): string {
  return section[other] !== undefined && section[usual] === undefined ? other : usual;
}
