import type { AccountField, Candidate } from "./config-accounts.ts";
import { type Section, inFile, isSection, own, parseSettingsFile } from "./config-file.ts";
import type { ConfigProblem } from "./config-problems.ts";
import type { Reading, Text } from "./config-sources.ts";

/** The names that OpenClaw's plugins use for one credential. */
const KEYS = { appKey: ["appKey", "clientId"], appSecret: ["appSecret", "clientSecret"] } as const;
const WAY_OUT =
  "Write the value or ${VARIABLE} there, or give the bridge the credentials itself: DINGTALK_APP_KEY and DINGTALK_APP_SECRET, or BRIDGE_CONFIG for several accounts.";

const PREFIX = "channels.dingtalk.";

/** What is read, and where to report. */
interface Here {
  path: string;
  env: ReadonlyMap<string, string>;
  problems: ConfigProblem[];
}

interface Account {
  id: string;
  section: Section;
  /** Path of one of its keys: those of the default account may stand at the top level. */
  place: (key: string) => string;
}

/**
 * Accounts of `channels.dingtalk` in an `openclaw.json`: the top level is the account `main` (OpenClaw's `default`),
 * `accounts.<id>` are the others; `accounts.main` adds to the top level. Keys that OpenClaw or its plugin read are none
 * of our business and ignored. Undefined if the file cannot be read.
 */
export function readOpenClawFile(named: Text, reading: Reading): { path: string; candidates: Candidate[] } | undefined {
  const parsed = parseSettingsFile(named, reading);
  if (parsed === undefined) return undefined;
  const { path, root } = parsed;
  const { findings } = reading;
  const here = { path, env: reading.env, problems: findings.problems };
  const channels = enter(root, "", "channels", here);
  const top = enter(channels, "channels.", "dingtalk", here);
  const accounts = enter(top, PREFIX, "accounts", here);
  const candidates: Candidate[] = [];
  for (const account of listAccounts(top, accounts, here)) {
    // A disabled account may well have credentials that only OpenClaw can read.
    const problems: ConfigProblem[] = [];
    const candidate = readAccount(account, { ...here, problems });
    const enabled = candidate.enabled && own(top, "enabled") !== false;
    const complete = problems.length === 0 && candidate.fields.appKey && candidate.fields.appSecret;
    if (enabled || complete) {
      findings.problems.push(...problems);
      candidates.push({ ...candidate, enabled });
    } else findings.notes.push(`${inFile(`account ${account.id}`, here)} is disabled there and left out`);
  }
  return { path, candidates };
}

/** The child of a section; empty if there is none. `$include` is refused: what it adds is not known here. */
function enter(section: Section, prefix: string, key: string, here: Here): Section {
  if (Object.hasOwn(section, "$include")) refuseInclude(prefix, here);
  const child = own(section, key);
  if (child === undefined || isSection(child)) return child ?? {};
  here.problems.push({ setting: inFile(`${prefix}${key}`, here), problem: "is not an object", mend: WAY_OUT });
  return {};
}

function refuseInclude(prefix: string, here: Here): void {
  const setting = inFile(`${prefix}$include`, here);
  here.problems.push({ setting, problem: "is not followed by the bridge", mend: WAY_OUT });
}

function listAccounts(top: Section, accounts: Section, here: Here): Account[] {
  if (Object.hasOwn(accounts, "$include")) refuseInclude(`${PREFIX}accounts.`, here);
  const listed: Account[] = [];
  for (const [id, section] of Object.entries(accounts)) {
    const prefix = `${PREFIX}accounts.${id}.`;
    if (id === "$include") continue;
    if (!isSection(section)) {
      here.problems.push({ setting: inFile(prefix.slice(0, -1), here), problem: "is not an object", mend: WAY_OUT });
    } else if (Object.hasOwn(section, "$include")) refuseInclude(prefix, here);
    else if (!isDefault(id)) listed.push({ id, section, place: (key) => `${prefix}${key}` });
    else {
      const place = (key: string): string => (Object.hasOwn(section, key) ? `${prefix}${key}` : `${PREFIX}${key}`);
      listed.push({ id, section: { ...top, ...section }, place });
    }
  }
  const credentials = Object.values(KEYS).flat();
  if (credentials.some((key) => own(top, key) !== undefined) && !listed.some(({ id }) => isDefault(id))) {
    listed.unshift({ id: "default", section: top, place: (key) => `${PREFIX}${key}` });
  }
  return listed;
}

const isDefault = (id: string): boolean => id === "default" || id === "main";

function readAccount({ id, section, place }: Account, here: Here): Candidate {
  const label = (field: string): string => inFile(place(field), here);
  const enabled = own(section, "enabled") ?? true;
  if (typeof enabled !== "boolean") {
    here.problems.push({ setting: label("enabled"), problem: "is not `true` or `false`", mend: "Write one of them." });
  }
  const fields: Candidate["fields"] = {};
  for (const [field, keys] of Object.entries(KEYS) as [keyof typeof KEYS, readonly string[]][]) {
    const given = keys.filter((key) => own(section, key) !== undefined);
    const values = given.map((key) => readText(own(section, key), label(key), here));
    const differ = values.find((value) => value !== values[0]);
    if (differ !== undefined && values[0] !== undefined) {
      const problem = `and ${given[1] ?? ""} are both there and differ`;
      here.problems.push({ setting: label(given[0] ?? field), problem, mend: "Keep one of them." });
    }
    const [value] = differ === undefined ? values : [undefined];
    if (given[0] !== undefined) fields[field] = value === undefined ? "refused" : { value, source: label(given[0]) };
  }
  return {
    name: id,
    origin: here.path,
    fields,
    enabled: enabled !== false,
    label: (field: AccountField) => label(field),
  };
}

/** Plain text with `${VAR}` replaced as OpenClaw does it (upper-case names; `$${VAR}` stands for itself). */
function readText(value: unknown, setting: string, here: Here): string | undefined {
  if (isSection(value)) {
    here.problems.push({ setting, problem: "is a reference that only OpenClaw can read (SecretRef)", mend: WAY_OUT });
    return undefined;
  }
  if (typeof value !== "string") {
    here.problems.push({ setting, problem: "is not text", mend: WAY_OUT });
    return undefined;
  }
  const missing = new Set<string>();
  const text = value.trim().replace(/(\$?)\$\{([A-Z_][A-Z0-9_]*)\}/g, (whole, escape: string, name: string) => {
    if (escape !== "") return whole.slice(1);
    const found = here.env.get(name);
    if (found === undefined) missing.add(name);
    return found ?? "";
  });
  for (const name of missing) {
    here.problems.push({
      setting,
      problem: `refers to ${name}, which is not set for the bridge`,
      mend: `Set ${name} in the bridge's environment too: what OpenClaw's own .env or env section sets does not reach it.`,
    });
  }
  return missing.size === 0 ? text : undefined;
}
