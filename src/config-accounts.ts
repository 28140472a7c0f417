import { ACCOUNT_NAME, canonicalAccountName } from "./domain/account.ts";
import { type ConfigFile, inFile, own, readFileSecret } from "./config-file.ts";
import { checkSecret, checkSetting, splitTokens } from "./config-formats.ts";
import type { ConfigProblem, Findings } from "./config-problems.ts";
import { type AccountConfig, type ReplySettings, listSettings } from "./config-schema.ts";
import { ACCOUNT_FIELDS } from "./config-variables.ts";
import { type Given, type Reading, readVariable } from "./config-sources.ts";

export type AccountField = "appKey" | "appSecret" | "robotCode";

/** An account before it is known how its replies look. */
export type Credentials = Omit<AccountConfig, "reply">;

/** An account as one source describes it, before it is checked. */
export interface Candidate {
  /** As written there. */
  name: string;
  /** For notes: "the environment", or the file. */
  origin: string;
  /** `refused`: given, but unreadable and already reported. */
  fields: { [field in AccountField]?: Given | "refused" };
  enabled: boolean;
  /** Shared with its gateway, as a `token` setting, checked. */
  token?: Given;
  botName?: string;
  /** The place of a field that is missing. */
  label: (field: AccountField) => string;
}

/** How DingTalk's App Keys look; a secret that looks so is the App Key in the wrong place. */
const APP_KEY = /^(ding|suite)[a-z0-9]{16,20}$/;
const WHERE_TO_FIND = "It stands on open-dev.dingtalk.com → the app → 凭证与基础信息";

/**
 * The environment's account `main`, if any of its variables is set. A robot code alone makes no account: it belongs to
 * the `main` of a file.
 */
export function environmentAccount(reading: Reading): { account?: Candidate; robotCode?: Given | "refused" } {
  const fields: Candidate["fields"] = {};
  for (const field of ["appKey", "appSecret", "robotCode"] as const) {
    const value = readVariable(ACCOUNT_FIELDS[field], reading, true);
    if (value !== undefined) fields[field] = value;
  }
  if (fields.appKey === undefined && fields.appSecret === undefined) {
    return fields.robotCode === undefined ? {} : { robotCode: fields.robotCode };
  }
  const label = (field: AccountField): string => ACCOUNT_FIELDS[field].env;
  return { account: { name: "main", origin: "the environment", fields, enabled: true, label } };
}

/** An account of OpenClaw's file whose other half stands in the environment. What both have is the file's, as its plugin takes it. */
export function joinedAccount(half: Candidate, ofFile: Candidate, findings: Findings): Candidate {
  for (const field of ["appKey", "appSecret"] as const) {
    const [ours, theirs] = [half.fields[field], ofFile.fields[field]];
    if (typeof ours === "object" && typeof theirs === "object" && ours.value !== theirs.value)
      findings.notes.push(`${ours.source} differs from ${theirs.source} and is ignored`);
  }
  return { ...ofFile, fields: { ...half.fields, ...ofFile.fields } };
}

export function fileAccounts(file: ConfigFile, reading: Reading): Candidate[] {
  return [...file.accounts].map(([name, section]) => {
    const prefix = `accounts.${name}.`;
    const fields: Candidate["fields"] = {};
    for (const field of ["appKey", "appSecret"] as const) {
      const value = readFileSecret(section, field, prefix, file, reading);
      if (value !== undefined) fields[field] = value;
    }
    const robotCode = own(section, "robotCode");
    if (robotCode !== undefined) fields.robotCode = { value: robotCode, source: inFile(`${prefix}robotCode`, file) };
    const enabled = own(section, "enabled") ?? true;
    if (typeof enabled !== "boolean") {
      const setting = inFile(`${prefix}enabled`, file);
      reading.findings.problems.push({ setting, problem: "is not `true` or `false`", mend: "Write one of them." });
    }
    const botName = own(section, "botName");
    if (botName !== undefined && typeof botName !== "string") {
      const setting = inFile(`${prefix}botName`, file);
      reading.findings.problems.push({ setting, problem: "is not text", mend: "Put it in quotes." });
    }
    const label = (field: AccountField): string => inFile(`${prefix}${field}`, file);
    const named = typeof botName === "string" && botName.trim() !== "" ? { botName: botName.trim() } : {};
    return { name, origin: file.path, fields, enabled: enabled !== false, ...named, label };
  });
}

/**
 * One account per name, from the first source that has it; checks them all. The sources come in order of precedence.
 */
export function mergeAccounts(
  sources: Candidate[][],
  robotCode: Given | "refused" | undefined,
  findings: Findings,
): Credentials[] {
  const chosen = new Map<string, Candidate>();
  for (const candidates of sources) {
    for (const [name, candidate] of uniqueNames(candidates, findings.problems)) {
      const winner = chosen.get(name);
      if (winner === undefined) chosen.set(name, candidate);
      else findings.notes.push(`account ${name} of ${candidate.origin} is ignored: ${winner.origin} has it too`);
    }
  }
  if (robotCode !== undefined) overrideRobotCode(chosen, robotCode, findings.problems);
  const accounts = [...chosen].flatMap(([name, candidate]) => checkAccount(name, candidate, findings.problems) ?? []);
  refuseSharedKeys(accounts, chosen, findings.problems);
  noteOrigins(chosen, sources, findings);
  if (chosen.size > 0 && [...chosen.values()].every(({ enabled }) => !enabled)) {
    const mend = "Set `enabled: true` for one of them; in OpenClaw's file for the channel, too.";
    const path = [...new Set([...chosen.values()].map(({ origin }) => origin))].join(" and ");
    findings.problems.push({ setting: inFile("accounts", { path }), problem: "are all disabled", mend });
  }
  return accounts;
}

/** `sources` are the environment, our file and OpenClaw's; each may be empty. */
function noteOrigins(chosen: Map<string, Candidate>, sources: Candidate[][], { origins }: Findings): void {
  for (const [name, candidate] of chosen) {
    const kinds = ["environment", "file", "openclaw"] as const;
    const kind = kinds[sources.findIndex((all) => all.some(({ origin }) => origin === candidate.origin))] ?? "file";
    for (const [field, given] of Object.entries(candidate.fields)) {
      if (typeof given !== "object") continue;
      // DINGTALK_ROBOT_CODE belongs to the `main` of any source.
      const byVariable = /^[A-Z_]+$/.test(given.source);
      origins.set(`accounts.${name}.${field}`, { kind: byVariable ? "environment" : kind, name: given.source });
    }
  }
}

function uniqueNames(candidates: Candidate[], problems: ConfigProblem[]): Map<string, Candidate> {
  const unique = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const name = canonicalAccountName(candidate.name);
    const setting = inFile(`account ${candidate.name}`, { path: candidate.origin });
    if (!ACCOUNT_NAME.test(name)) {
      const mend = "Use up to 32 lower-case letters, digits, - and _, beginning with a letter or digit.";
      problems.push({ setting, problem: "has a name that cannot be used", mend });
    } else if (unique.has(name)) {
      const mend = "`main` and OpenClaw's `default` are one account: rename or remove one.";
      problems.push({ setting, problem: "is there twice", mend });
    } else unique.set(name, candidate);
  }
  return unique;
}

function overrideRobotCode(
  chosen: Map<string, Candidate>,
  robotCode: Given | "refused",
  problems: ConfigProblem[],
): void {
  const main = chosen.get("main");
  if (main !== undefined) {
    chosen.set("main", { ...main, fields: { ...main.fields, robotCode } });
    return;
  }
  const { env } = ACCOUNT_FIELDS.robotCode;
  const mend = `Set DINGTALK_APP_KEY and DINGTALK_APP_SECRET too, or unset ${env}.`;
  problems.push({ setting: env, problem: "is set, but there is no account main that it belongs to", mend });
}

function checkAccount(name: string, candidate: Candidate, problems: ConfigProblem[]): Credentials | undefined {
  const appKey = checkCredential("appKey", candidate, problems);
  const appSecret = checkCredential("appSecret", candidate, problems);
  const robotCode =
    candidate.fields.robotCode === undefined ? appKey : checkCredential("robotCode", candidate, problems);
  if (appSecret !== undefined && (appSecret === appKey || APP_KEY.test(appSecret))) {
    const { appSecret: given } = candidate.fields;
    problems.push({
      setting: typeof given === "object" ? given.source : candidate.label("appSecret"),
      problem: "is an App Key, not an App Secret",
      mend: `Put the Client Secret there. ${WHERE_TO_FIND}.`,
    });
    return undefined;
  }
  if (appKey === undefined || appSecret === undefined || robotCode === undefined) return undefined;
  const { enabled, token, botName } = candidate;
  return {
    name,
    appKey,
    appSecret,
    robotCode,
    enabled,
    ...(token && { tokens: splitTokens(String(token.value)) }),
    ...(botName !== undefined && { botName }),
  };
}

function checkCredential(field: AccountField, candidate: Candidate, problems: ConfigProblem[]): string | undefined {
  const given = candidate.fields[field];
  if (given === "refused") return undefined;
  const value = typeof given?.value === "string" ? given.value.trim() : given?.value;
  if (given === undefined || value === "") {
    const title = { appKey: "Client ID (App Key)", appSecret: "Client Secret (App Secret)", robotCode: "robot's code" }[
      field
    ];
    const mend = `Put the app's ${title} there. ${WHERE_TO_FIND}.`;
    problems.push({ setting: given?.source ?? candidate.label(field), problem: "is missing", mend });
    return undefined;
  }
  if (typeof value !== "string") {
    problems.push({ setting: given.source, problem: "is not text", mend: "Put it in quotes." });
    return undefined;
  }
  const unfit = checkSecret(value);
  if (unfit !== undefined) problems.push({ setting: given.source, ...unfit });
  return unfit === undefined ? value : undefined;
}

function refuseSharedKeys(accounts: Credentials[], chosen: Map<string, Candidate>, problems: ConfigProblem[]): void {
  const owners = new Map<string, string>();
  for (const { name, appKey } of accounts) {
    const owner = owners.get(appKey);
    if (owner === undefined) owners.set(appKey, name);
    else {
      problems.push({
        setting: chosen.get(name)?.label("appKey") ?? name,
        problem: `is the App Key of account ${owner} as well`,
        mend: "DingTalk gives each message to one connection only: remove one of the two accounts.",
      });
    }
  }
}

/** What accounts of a file say of their replies, checked, by canonical name; it holds wherever their credentials come from. */
export function accountReplies(file: ConfigFile, findings: Findings): Map<string, Partial<ReplySettings>> {
  const settings = new Map(listSettings().map(({ path, setting }) => [path, setting]));
  const replies = new Map<string, Partial<ReplySettings>>();
  for (const [name, values] of file.replies) {
    const checked: Record<string, unknown> = {};
    for (const [key, given] of values) {
      const setting = settings.get(`reply.${key}`);
      const result = setting && checkSetting(setting, given.value);
      if (result && "value" in result) {
        checked[key] = result.value;
        const path = `accounts.${canonicalAccountName(name)}.reply.${key}`;
        findings.origins.set(path, { kind: "file", name: given.source });
      } else if (result) findings.problems.push({ setting: given.source, ...result });
    }
    replies.set(canonicalAccountName(name), checked);
  }
  return replies;
}
