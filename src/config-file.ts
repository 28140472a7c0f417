import JSON5 from "json5";
import { type Findings, nearest } from "./config-problems.ts";
import { SCHEMA, type Setting, listSettings } from "./config-schema.ts";
import { ACCOUNT_FIELDS } from "./config-variables.ts";
import { type Given, type Reading, type Text, asText, chooseSecret, readSettingsFile } from "./config-sources.ts";

export type Section = Record<string, unknown>;

export const isSection = (value: unknown): value is Section =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A file of ours, its secrets read and its unknown keys reported. */
export interface ConfigFile {
  /** By the path of the setting. */
  values: Map<string, Given>;
  accounts: Map<string, Section>;
  /** What accounts say differently from the common `reply`, by name as written there. */
  replies: Map<string, Map<string, Given>>;
  path: string;
}

/** Parses the JSON5 file that a setting names, whose root is an object; reports and returns undefined otherwise. */
export function parseSettingsFile(named: Text, reading: Reading): { path: string; root: Section } | undefined {
  const read = readSettingsFile(named, reading);
  const { problems } = reading.findings;
  if (!("text" in read)) {
    problems.push(read);
    return undefined;
  }
  const { path, text } = read;
  const mend = "Correct the file; JSON with comments and trailing commas is fine.";
  try {
    const root: unknown = JSON5.parse(text);
    if (isSection(root)) return { path, root };
    problems.push({ setting: path, problem: "holds no object", mend });
  } catch (error) {
    // The parser's own message quotes the character it stopped at, which may belong to a secret.
    const { lineNumber, columnNumber } = error as { lineNumber?: number; columnNumber?: number };
    const at = lineNumber === undefined ? "" : ` at line ${lineNumber}, column ${columnNumber ?? 0}`;
    problems.push({ setting: path, problem: `is not valid JSON5${at}`, mend });
  }
  return undefined;
}

/** Reads the file of `BRIDGE_CONFIG` or `--config`. Undefined if it cannot be read, which is then reported. */
export function readConfigFile(named: Text, reading: Reading): ConfigFile | undefined {
  const parsed = parseSettingsFile(named, reading);
  if (parsed === undefined) return undefined;
  const { accounts, ...settings } = parsed.root;
  const file: ConfigFile = { values: new Map(), accounts: new Map(), replies: new Map(), path: parsed.path };
  readGroup(settings, SCHEMA, "", file, reading);
  readAccounts(accounts, file, reading);
  return file;
}

function readGroup(group: Section, schema: object, prefix: string, file: ConfigFile, reading: Reading): void {
  const known = new Map<string, Setting | object>(Object.entries(schema));
  for (const [key, child] of Object.entries(group)) {
    const path = `${prefix}${key}`;
    const node = known.get(key);
    if (node !== undefined && "default" in node) {
      file.values.set(path, { value: child, source: inFile(path, file) });
    } else if (node !== undefined && isSection(child)) {
      readGroup(child, node, `${path}.`, file, reading);
    } else if (node !== undefined) {
      const keys = Object.keys(node).join(", ");
      reading.findings.problems.push({
        setting: inFile(path, file),
        problem: "is not a group of settings",
        mend: `Write an object with some of ${keys}.`,
      });
    } else if (!isSecretFileKey(key, known)) reportUnknown(key, path, keysOf(known, prefix), file, reading.findings);
  }
  for (const [key, node] of known) {
    if ("sensitive" in node) readSecret(group, key, prefix, file, reading);
  }
}

/** `<key>File` beside a secret's key, as `<VARIABLE>_FILE` beside its variable. */
function readSecret(group: Section, key: string, prefix: string, file: ConfigFile, reading: Reading): void {
  const path = `${prefix}${key}`;
  const value = readFileSecret(group, key, prefix, file, reading);
  if (value === "refused") file.values.delete(path);
  else if (value !== undefined) file.values.set(path, value);
}

/** The secret `key` of a group in the file, or what its `<key>File` names; undefined if neither is there. */
export function readFileSecret(
  group: Section,
  key: string,
  prefix: string,
  file: { path: string },
  reading: Reading,
): Given | "refused" | undefined {
  const [direct, named] = [own(group, key), own(group, `${key}File`)];
  const given = direct === undefined ? undefined : { value: direct, source: inFile(`${prefix}${key}`, file) };
  if (named === undefined) return given;
  const source = inFile(`${prefix}${key}File`, file);
  const text = typeof named === "string" ? asText(named, source) : undefined;
  if (text !== undefined) return chooseSecret<Given>(given, text, reading);
  reading.findings.problems.push({ setting: source, problem: "is not the path of a file", mend: "Give a path." });
  return "refused";
}

function readAccounts(accounts: unknown, file: ConfigFile, reading: Reading): void {
  const { findings } = reading;
  if (accounts === undefined) return;
  const mend = "Write accounts: { main: { appKey: …, appSecret: … } }.";
  if (!isSection(accounts)) {
    findings.problems.push({ setting: inFile("accounts", file), problem: "is not an object of accounts", mend });
    return;
  }
  const known = [...Object.keys(ACCOUNT_FIELDS), "botName", "enabled", "reply"];
  const secrets = Object.entries(ACCOUNT_FIELDS).flatMap(([key, { sensitive }]) => (sensitive ? [`${key}File`] : []));
  for (const [name, account] of Object.entries(accounts)) {
    const path = `accounts.${name}`;
    if (!isSection(account)) {
      findings.problems.push({ setting: inFile(path, file), problem: "is not an account", mend });
      continue;
    }
    file.accounts.set(name, account);
    readAccountReply(name, own(account, "reply"), file, reading);
    for (const key of Object.keys(account)) {
      if (known.includes(key) || secrets.includes(key)) continue;
      reportUnknown(key, `${path}.${key}`, [...known, ...secrets], file, findings);
    }
  }
}

/** The same settings as the common `reply`, one level deeper. */
function readAccountReply(name: string, reply: unknown, file: ConfigFile, reading: Reading): void {
  if (reply === undefined) return;
  const values = new Map<string, Given>();
  readGroup({ reply }, { reply: SCHEMA.reply }, `accounts.${name}.`, { ...file, values }, reading);
  const prefix = `accounts.${name}.reply.`;
  file.replies.set(name, new Map([...values].map(([path, given]) => [path.slice(prefix.length), given])));
}

function reportUnknown(key: string, path: string, siblings: string[], file: ConfigFile, findings: Findings): void {
  const elsewhere = listSettings().find(({ path: known }) => known.split(".").at(-1) === key);
  const near = nearest(key, siblings);
  const prefix = path.slice(0, path.length - key.length);
  const meant = near === undefined ? elsewhere?.path : `${prefix}${near}`;
  findings.problems.push({
    setting: inFile(path, file),
    problem: "is not a setting",
    mend: meant === undefined ? "Remove it; docs/configuration.md lists all settings." : `Did you mean ${meant}?`,
  });
}

/** The words in which a problem names a place in a file. */
export function inFile(path: string, file: { path: string }): string {
  const plain = /^[\w.$ -]{1,120}$/.test(path) ? path : JSON.stringify(path.slice(0, 120));
  return `${plain} (in ${file.path})`;
}

/** Own properties only: a key like `constructor` must not find the prototype's. */
export function own(section: Section, key: string): unknown {
  return Object.hasOwn(section, key) ? section[key] : undefined;
}

function isSecretFileKey(key: string, known: ReadonlyMap<string, Setting | object>): boolean {
  const node = key.endsWith("File") ? known.get(key.slice(0, -"File".length)) : undefined;
  return node !== undefined && "sensitive" in node;
}

function keysOf(known: ReadonlyMap<string, Setting | object>, prefix: string): string[] {
  const keys = [...known].flatMap(([key, node]) => ("sensitive" in node ? [key, `${key}File`] : [key]));
  return prefix === "" ? ["accounts", ...keys] : keys;
}
