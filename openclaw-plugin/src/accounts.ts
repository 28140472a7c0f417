import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { deriveToken, splitSharedToken } from "./token.ts";

export const CHANNEL = "dingtalk";
/** OpenClaw's name for the account whose settings stand directly under `channels.dingtalk`. */
export const DEFAULT_ACCOUNT = "default";
/** The bridge's name for the same account. */
const BRIDGE_DEFAULT = "main";
const DEFAULT_BRIDGE_URL = "http://127.0.0.1:8790";
/** DingTalk takes no larger files. */
const DEFAULT_MEDIA_MAX_MB = 20;

export type DmPolicy = "pairing" | "allowlist" | "open" | "disabled";
export type GroupPolicy = "allowlist" | "open" | "disabled";

/** One robot, as configured. */
export interface Account {
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
  dmPolicy: DmPolicy;
  allowFrom: string[];
  groupPolicy: GroupPolicy;
  groupAllowFrom: string[];
  /** Answers are shown while they grow. */
  streaming: boolean;
  /** Of a file, received or sent. */
  mediaMaxBytes: number;
}

type Section = Record<string, unknown>;
export type Environment = Readonly<Record<string, string | undefined>>;

/** Settings of one account; the same names stand at the top level. */
const ACCOUNT_KEYS = new Set([
  "enabled",
  "name",
  "botName",
  "appKey",
  "appSecret",
  "clientId",
  "clientSecret",
  "bridgeUrl",
  "bridgeToken",
  "dmPolicy",
  "allowFrom",
  "groupPolicy",
  "groupAllowFrom",
  "streaming",
  "mediaMaxMb",
  // read by OpenClaw itself
  "healthMonitor",
  "configWrites",
  "contextVisibility",
  "defaultTo",
  "markdown",
]);
const TOP_LEVEL_KEYS = new Set([...ACCOUNT_KEYS, "accounts", "defaultAccount"]);

/** Account ids as OpenClaw knows them. `accounts.main` and `accounts.default` are the account of the top level. */
export function listAccountIds(cfg: OpenClawConfig, env: Environment): string[] {
  const section = channelSection(cfg);
  const ids = new Set(Object.keys(accountSections(section)).map(canonicalAccountId));
  const top = credentials(section, env);
  if (top.appKey || top.appSecret || ids.size === 0) ids.add(DEFAULT_ACCOUNT);
  return [...ids].sort();
}

/**
 * Reads one account; without credentials it comes back with no tokens. A named account inherits everything from the top
 * level but the credentials and the name.
 */
export function resolveAccount(cfg: OpenClawConfig, accountId: string | null | undefined, env: Environment): Account {
  const id = canonicalAccountId(accountId ?? DEFAULT_ACCOUNT);
  const top = channelSection(cfg);
  const own = ownSection(top, id);
  const inherited = (key: string): unknown => own[key] ?? top[key];
  const { appKey, appSecret } = id === DEFAULT_ACCOUNT ? credentials({ ...top, ...own }, env) : credentials(own, {});
  const shared = text(inherited("bridgeToken")) || env["BRIDGE_TOKEN"] || "";
  const dmPolicy = policy(inherited("dmPolicy"), ["pairing", "allowlist"]);
  return {
    accountId: id,
    bridgeAccount: id === DEFAULT_ACCOUNT ? BRIDGE_DEFAULT : id,
    name:
      text(own["botName"]) || text(own["name"]) || (id === DEFAULT_ACCOUNT ? text(top["botName"]) : "") || undefined,
    enabled: top["enabled"] !== false && own["enabled"] !== false,
    appKey,
    appSecret,
    bridgeUrl: (text(inherited("bridgeUrl")) || DEFAULT_BRIDGE_URL).replace(/\/+$/, ""),
    tokens: appKey && appSecret ? [...splitSharedToken(shared), ...derived(shared, appKey, appSecret)] : [],
    dmPolicy,
    allowFrom: effectiveAllowFrom(dmPolicy, inherited("allowFrom")),
    groupPolicy: policy(inherited("groupPolicy"), ["allowlist"]),
    groupAllowFrom: entries(inherited("groupAllowFrom")) ?? [],
    streaming: isStreaming(inherited("streaming")),
    mediaMaxBytes: megabytes(inherited("mediaMaxMb")),
  };
}

export const isConfigured = (account: Account): boolean => account.tokens.length > 0;

/** Settings under `channels.dingtalk` that nobody reads: named in the log, because a misspelt policy must not pass. */
export function unknownSettings(cfg: OpenClawConfig): string[] {
  const section = channelSection(cfg);
  const unknown = Object.keys(section).filter((key) => !TOP_LEVEL_KEYS.has(key));
  for (const [id, account] of Object.entries(accountSections(section))) {
    unknown.push(
      ...Object.keys(account)
        .filter((key) => !ACCOUNT_KEYS.has(key))
        .map((key) => `accounts.${id}.${key}`),
    );
  }
  return unknown;
}

function canonicalAccountId(id: string): string {
  const trimmed = id.trim();
  return trimmed === "" || trimmed === BRIDGE_DEFAULT ? DEFAULT_ACCOUNT : trimmed;
}

function channelSection(cfg: OpenClawConfig): Section {
  const section: unknown = cfg.channels?.[CHANNEL];
  return isSection(section) ? section : {};
}

function accountSections(section: Section): Record<string, Section> {
  const accounts = section["accounts"];
  if (!isSection(accounts)) return {};
  return Object.fromEntries(
    Object.entries(accounts).filter((entry): entry is [string, Section] => isSection(entry[1])),
  );
}

function ownSection(top: Section, id: string): Section {
  const named = Object.entries(accountSections(top)).filter(([key]) => canonicalAccountId(key) === id);
  return Object.assign({}, ...named.map(([, own]) => own)) as Section;
}

function credentials(section: Section, env: Environment): { appKey: string; appSecret: string } {
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
  return entries(configured) ?? (policy === "open" ? ["*"] : []);
}

function entries(value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).map((entry) => String(entry).trim()).filter((entry) => entry !== "");
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

function megabytes(value: unknown): number {
  const size = typeof value === "number" && value > 0 ? value : DEFAULT_MEDIA_MAX_MB;
  return Math.floor(size * 1024 * 1024);
}

const text = (value: unknown): string => (typeof value === "string" ? value.trim() : "");
const isSection = (value: unknown): value is Section =>
  typeof value === "object" && value !== null && !Array.isArray(value);
