import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { readList } from "./allowlist.ts";
import { type Groups, readGroups } from "./groups.ts";
import { deriveToken, splitSharedToken } from "./token.ts";

export const CHANNEL = "dingtalk";
/** OpenClaw's name for the account whose settings stand directly under `channels.dingtalk`. */
export const DEFAULT_ACCOUNT = "default";
/** The bridge's name for the same account, and the key under which the wizard writes it. */
export const MAIN_ACCOUNT = "main";
export const DEFAULT_BRIDGE_URL = "http://127.0.0.1:8790";
/** DingTalk takes no larger files. */
const DEFAULT_MEDIA_MAX_MB = 20;

export type DmPolicy = "pairing" | "allowlist" | "open" | "disabled";
export type GroupPolicy = "allowlist" | "open" | "disabled";

/** One robot, as configured. */
export interface Account {
  /** As OpenClaw knows it: its key in `accounts`, or `default` for what stands directly under `channels.dingtalk`. */
  accountId: string;
  /** The bridge's name for it: `main` where OpenClaw says `default`. */
  bridgeAccount: string;
  name: string | undefined;
  enabled: boolean;
  appKey: string;
  appSecret: string;
  /** Without a trailing slash. */
  bridgeUrl: string;
  /** Accepted from the bridge; the first one is sent to it. Empty: the account is not configured. */
  tokens: string[];
  /** `bridgeToken` or BRIDGE_TOKEN is set, so `tokens` is not derived. */
  hasBridgeToken: boolean;
  /** The configuration names no credentials; those that there are come from the environment. */
  fromEnvironment: boolean;
  /** Why there are no credentials, when what is written cannot be used. */
  credentialsProblem: string | undefined;
  dmPolicy: DmPolicy;
  /** No policy was written for a hand-written account, so it is `open`: said in the log, because it lets everybody in. */
  openByDefault: boolean;
  allowFrom: string[];
  groupPolicy: GroupPolicy;
  groupAllowFrom: string[];
  groups: Groups;
  /** Answers are shown while they grow. */
  streaming: boolean;
  /** While an answer is shown, what tools do is shown below it. */
  toolProgress: boolean;
  /** In a group, an answer @-s the one person that it answers. */
  mentionSender: boolean;
  /** Of a file, received or sent. */
  mediaMaxBytes: number;
}

export type Section = Record<string, unknown>;
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Account ids as OpenClaw knows them. `accounts.main`, `accounts.default` and the top level are one account; it has the key that
 * is written, so that bindings and `--account` name it as the configuration does, and is `default` when none is.
 */
export function listAccountIds(cfg: OpenClawConfig, env: Environment): string[] {
  const section = channelSection(cfg);
  const ids = new Set(Object.keys(accountSections(section)).map((id) => canonicalAccountId(section, id)));
  const top = credentials(section, env);
  if (top.appKey || top.appSecret || ids.size === 0) ids.add(mainAccountId(section));
  return [...ids].sort();
}

/** The account that is meant where none is named: `defaultAccount` when there is such a one, else the main one, else the first. */
export function defaultAccountId(cfg: OpenClawConfig, env: Environment): string {
  const section = channelSection(cfg);
  const ids = listAccountIds(cfg, env);
  const wanted = [canonicalAccountId(section, text(section["defaultAccount"])), mainAccountId(section)];
  return wanted.find((id) => ids.includes(id)) ?? ids[0] ?? DEFAULT_ACCOUNT;
}

/**
 * Reads one account; without credentials it comes back with no tokens. A named account inherits everything from the top
 * level but the credentials and the name.
 */
export function resolveAccount(cfg: OpenClawConfig, accountId: string | null | undefined, env: Environment): Account {
  const top = channelSection(cfg);
  const id = canonicalAccountId(top, accountId ?? DEFAULT_ACCOUNT);
  const isMain = id === mainAccountId(top);
  const own = ownSection(top, id);
  const inherited = (key: string): unknown => own[key] ?? top[key];
  const written = isMain ? ownFirst(top, own) : own;
  const { appKey, appSecret } = credentials(written, isMain ? env : {});
  const shared = text(inherited("bridgeToken")) || env["BRIDGE_TOKEN"] || "";
  // Who writes the credentials down by hand and no policy gets the documented default; who writes nothing gets the careful one.
  const fallback = hasCredentials(written) ? "open" : "pairing";
  const dmPolicy = policy(inherited("dmPolicy") ?? fallback, ["pairing", "allowlist"]);
  return {
    accountId: id,
    bridgeAccount: isMain ? MAIN_ACCOUNT : id,
    name: nameOf(own) ?? (isMain ? nameOf(top) : undefined),
    enabled: top["enabled"] !== false && own["enabled"] !== false,
    appKey,
    appSecret,
    bridgeUrl: (text(inherited("bridgeUrl")) || env["BRIDGE_PUBLIC_URL"] || DEFAULT_BRIDGE_URL).replace(/\/+$/, ""),
    tokens: appKey && appSecret ? [...splitSharedToken(shared), ...derived(shared, appKey, appSecret)] : [],
    hasBridgeToken: splitSharedToken(shared).length > 0,
    fromEnvironment: !hasCredentials(written),
    credentialsProblem: unreadable(written),
    dmPolicy,
    openByDefault: inherited("dmPolicy") === undefined && dmPolicy === "open",
    allowFrom: effectiveAllowFrom(dmPolicy, inherited("allowFrom")),
    groupPolicy: policy(inherited("groupPolicy"), ["allowlist"]),
    groupAllowFrom: readList(inherited("groupAllowFrom")) ?? [],
    groups: readGroups(inherited("groups")),
    streaming: isStreaming(inherited("streaming")),
    toolProgress: showsTools(inherited("streaming")),
    mentionSender: inherited("mentionSender") === true,
    mediaMaxBytes: megabytes(inherited("mediaMaxMb")),
  };
}

export const isConfigured = (account: Account): boolean => account.tokens.length > 0;

/** `main` and `default` are one account, whose id is the key that is written; `main` when both are. */
function canonicalAccountId(section: Section, id: string): string {
  const trimmed = id.trim();
  return ["", MAIN_ACCOUNT, DEFAULT_ACCOUNT].includes(trimmed) ? mainAccountId(section) : trimmed;
}

function mainAccountId(section: Section): string {
  return accountSections(section)[MAIN_ACCOUNT] ? MAIN_ACCOUNT : DEFAULT_ACCOUNT;
}

/** What stands under `channels.dingtalk`; empty when nothing does. */
export function channelSection(cfg: OpenClawConfig): Section {
  const section: unknown = cfg.channels?.[CHANNEL];
  return isSection(section) ? section : {};
}

export function accountSections(section: Section): Record<string, Section> {
  const accounts = section["accounts"];
  if (!isSection(accounts)) return {};
  return Object.fromEntries(
    Object.entries(accounts).filter((entry): entry is [string, Section] => isSection(entry[1])),
  );
}

function ownSection(top: Section, id: string): Section {
  const named = Object.entries(accountSections(top)).filter(([key]) => canonicalAccountId(top, key) === id);
  return Object.assign({}, ...named.map(([, own]) => own)) as Section;
}

/** What the account says about its key hides the top level's key under either name, and the same for the secret. */
function ownFirst(top: Section, own: Section): Section {
  const shared = { ...top };
  for (const names of CREDENTIAL_NAMES) {
    if (names.some((name) => own[name] !== undefined)) for (const name of names) delete shared[name];
  }
  return { ...shared, ...own };
}

const CREDENTIAL_NAMES = [
  ["appKey", "clientId"],
  ["appSecret", "clientSecret"],
] as const;

export const hasCredentials = (section: Section): boolean =>
  CREDENTIAL_NAMES.flat().some((name) => section[name] !== undefined);

export const withoutCredentials = (section: Section): Section =>
  Object.fromEntries(
    Object.entries(section).filter(([key]) => !CREDENTIAL_NAMES.some((names) => names.some((name) => name === key))),
  );

const nameOf = (section: Section): string | undefined => text(section["botName"]) || text(section["name"]) || undefined;

/** OpenClaw hands a SecretRef over as the object that it is when nothing resolved it. */
function unreadable(section: Section): string | undefined {
  const key = CREDENTIAL_NAMES.flat().find((name) => isSection(section[name]));
  return (
    key &&
    `${key} is a SecretRef that is not resolved: write the secret, or "\${NAME}" for the environment variable NAME`
  );
}

function credentials(section: Section, env: Environment): { appKey: string; appSecret: string } {
  // Somebody meant another secret than the environment's.
  if (unreadable(section)) return { appKey: text(section["appKey"]) || text(section["clientId"]), appSecret: "" };
  return {
    appKey:
      text(section["appKey"]) ||
      text(section["clientId"]) ||
      env["DINGTALK_APP_KEY"] ||
      env["DINGTALK_CLIENT_ID"] ||
      "",
    appSecret:
      text(section["appSecret"]) ||
      text(section["clientSecret"]) ||
      env["DINGTALK_APP_SECRET"] ||
      env["DINGTALK_CLIENT_SECRET"] ||
      "",
  };
}

/** With a shared secret only that one counts: whoever sets it means to replace the derived one. */
function derived(shared: string, appKey: string, appSecret: string): string[] {
  return splitSharedToken(shared).length > 0 ? [] : [deriveToken(appKey, appSecret)];
}

/**
 * OpenClaw lets nobody in under `open` unless the list holds `*`. Said by the policy alone, `open` means everybody; a
 * list that is written down is taken as it stands, and an empty one allows nobody.
 */
function effectiveAllowFrom(policy: DmPolicy, configured: unknown): string[] {
  return readList(configured) ?? (policy === "open" ? ["*"] : []);
}

/** A policy that is not known is closed, never the default: a misspelling must not open the door. */
function policy<const T extends string>(value: unknown, others: readonly T[]): T | "open" | "disabled" {
  if (value === undefined || value === "open") return "open";
  return others.find((one) => one === value) ?? "disabled";
}

/** `false`, `"off"` and OpenClaw's own `{ mode: "off" }` switch it off. */
function isStreaming(value: unknown): boolean {
  const mode = isSection(value) ? value["mode"] : value;
  return mode !== false && mode !== "off";
}

/** OpenClaw's own `{ preview: { toolProgress: false } }` switches it off. */
function showsTools(value: unknown): boolean {
  const preview = isSection(value) ? value["preview"] : undefined;
  return !isSection(preview) || preview["toolProgress"] !== false;
}

function megabytes(value: unknown): number {
  const size = typeof value === "number" && value > 0 ? value : DEFAULT_MEDIA_MAX_MB;
  return Math.floor(size * 1024 * 1024);
}

const text = (value: unknown): string => (typeof value === "string" ? value.trim() : "");
const isSection = (value: unknown): value is Section =>
  typeof value === "object" && value !== null && !Array.isArray(value);
