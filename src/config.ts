import { homedir } from "node:os";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import convict from "convict";
import {
  type Credentials,
  accountReplies,
  environmentAccount,
  fileAccounts,
  joinedAccount,
  mergeAccounts,
} from "./config-accounts.ts";
import { canonicalAccountName } from "./domain/account.ts";
import { type ConfigFile, readConfigFile } from "./config-file.ts";
import { checkSetting, fromText, splitTokens } from "./config-formats.ts";
import { type OpenClawFile, readOpenClawFile } from "./config-openclaw.ts";
import { logTokens, logWay } from "./config-openclaw-bridge.ts";
import { withEnvFile } from "./config-env-file.ts";
import { ConfigError, type Findings, type Origin, nearest } from "./config-problems.ts";
import { type Config, SCHEMA, type Setting, type Settings, listSettings } from "./config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "./config-variables.ts";
import {
  type Given,
  type Reading,
  type Text,
  asText,
  locate,
  presentVariables,
  readVariable,
} from "./config-sources.ts";

export { ConfigError, type ConfigProblem, type Origin } from "./config-problems.ts";
export type { Config } from "./config-schema.ts";

export interface LoadOptions {
  env: Readonly<Record<string, string | undefined>>;
  flags?: Flags;
  /** Default: the user's. */
  homeDir?: string;
  /** Where relative paths start. Default: the working directory. */
  cwd?: string;
  /** A file with variables, where there is one; what is in `env` goes before it. */
  envFile?: string;
}

interface Flags {
  config?: string | undefined;
  dataDir?: string | undefined;
  port?: string | undefined;
}

/**
/**
 * Reads flags, environment (env file included), file and OpenClaw's file, in this order of precedence. `notes` are for the log: they name
 * what was read and what was ignored, and hold no secret. `origins` says where each value stood that is no default, by path.
 *
 * @throws ConfigError with everything that is wrong, and nothing else.
 */
export function loadConfig(options: LoadOptions): { config: Config; notes: string[]; origins: Map<string, Origin> } {
  const { flags = {}, homeDir = home(), cwd = resolve() } = options;
  const findings: Findings = { problems: [], notes: [], origins: new Map() };
  const { envFile } = options;
  const env = envFile === undefined ? options.env : withEnvFile(options.env, resolve(cwd, envFile), findings);
  const reading: Reading = { env: presentVariables(env), cwd, homeDir, findings };
  const file = openConfigFile(flags, reading);
  const { credentials, openclaw } = collectAccounts(file, reading);
  const values = collectValues(flags, { file: file === "unreadable" ? undefined : file, openclaw }, reading);
  if (openclaw) {
    const token = values.get("token");
    logWay(openclaw.way, values, findings);
    logTokens(openclaw.candidates, typeof token === "string" ? splitTokens(token) : [], findings);
  }
  const replies = typeof file === "object" ? accountReplies(file, findings) : undefined;
  noteUnknownVariables(reading);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  const { token, ...settings } = applySchema(values);
  const accounts = credentials.map((account) => ({
    ...account,
    reply: { ...settings.reply, ...replies?.get(account.name) },
  }));
  const dataDir = locate(settings.dataDir, reading);
  const config = { ...settings, dataDir, accounts, tokens: splitTokens(token ?? "") };
  return { config: deepFreeze(config), notes: findings.notes, origins: findings.origins };
}

/** A user whom no user list knows (systemd's DynamicUser, a container's `--user`) has none; then it is `/`, as Docker has it. */
function home(): string {
  try {
    return homedir();
  } catch {
    return "/";
  }
}

function openConfigFile(flags: Flags, reading: Reading): ConfigFile | "unreadable" | undefined {
  const { config } = FILE_VARIABLES;
  const given = asText(flags.config, config.flag) ?? readVariable(config, reading);
  if (given === undefined || given === "refused") return undefined;
  const file = readConfigFile(given, reading);
  if (file !== undefined) reading.findings.notes.push(`settings read from ${file.path}`);
  return file ?? "unreadable";
}

/** Checked values by path. A wrong value is reported even where another source overrides it. */
function collectValues(
  flags: Flags,
  { file, openclaw }: { file: ConfigFile | undefined; openclaw: OpenClawFile | undefined },
  reading: Reading,
): Map<string, unknown> {
  const values = new Map<string, unknown>();
  const flagTexts = new Map([
    ["dataDir", flags.dataDir],
    ["server.port", flags.port],
  ]);
  for (const { path, setting } of listSettings()) {
    const flag = asText(flagTexts.get(path), setting.flag ?? path);
    // Last one wins.
    const layers = [
      ["openclaw", openclaw?.way.settings.get(path)],
      ["file", file?.values.get(path)],
      ["environment", typed(setting, readVariable(setting, reading))],
      ["flag", typed(setting, flag)],
    ] as const;
    for (const [kind, given] of layers) {
      if (given === undefined) continue;
      const checked = checkSetting(setting, given.value);
      if ("value" in checked) {
        values.set(path, checked.value);
        reading.findings.origins.set(path, { kind, name: given.source });
      } else reading.findings.problems.push({ setting: given.source, ...checked });
    }
  }
  return values;
}

function typed(setting: Setting, given: Text | "refused" | undefined): Given | undefined {
  if (given === undefined || given === "refused") return undefined;
  return { value: fromText(setting, given.value), source: given.source };
}

/** `openclaw`: OpenClaw's file, where an account is read from it. */
function collectAccounts(
  file: ConfigFile | "unreadable" | undefined,
  reading: Reading,
): { credentials: Credentials[]; openclaw: OpenClawFile | undefined } {
  const { findings } = reading;
  const { account, robotCode } = environmentAccount(reading);
  const inFile = typeof file === "object" ? fileAccounts(file, reading) : [];
  const isHalf = account !== undefined && (!account.fields.appKey || !account.fields.appSecret);
  const haveAccounts = inFile.length > 0 || (account !== undefined && !isHalf);
  const openclaw = readOpenClaw(haveAccounts || file === "unreadable", reading);
  const candidates = typeof openclaw === "object" ? openclaw.candidates : [];
  if (typeof openclaw === "object" && candidates.length > 0) findings.notes.push(`accounts read from ${openclaw.path}`);
  const main = candidates.find(({ name }) => canonicalAccountName(name) === "main");
  // As the plugin does it: what stands in neither of the file's places may come from the environment.
  const joined = isHalf && main ? joinedAccount(account, main, findings) : undefined;
  const ours = [account === undefined || joined ? [] : [account], inFile];
  const theirs = candidates.map((one) => (joined && one === main ? joined : one));
  // An unreadable file may hold accounts: it is reported, and no other should be asked for.
  const unreadable = file === "unreadable" || openclaw === "unreadable";
  if (ours.flat().length + candidates.length === 0 && !unreadable) {
    const read = [file, openclaw].flatMap((source) => (typeof source === "object" ? [source.path] : []));
    findings.problems.push({
      setting: `${ACCOUNT_FIELDS.appKey.env} and ${ACCOUNT_FIELDS.appSecret.env}`,
      problem: read.length === 0 ? "are not set" : `are not set, and there is no account in ${read.join(" or ")}`,
      mend: "Run `dingtalk-bridge init`, which asks for both and writes ./.env, or set them: Client ID and Client Secret from open-dev.dingtalk.com → the app → 凭证与基础信息. Or let `openclaw channels add` write them into OpenClaw's file on this machine, which the bridge reads too.",
    });
  }
  const credentials = mergeAccounts([...ours, theirs], unreadable ? undefined : robotCode, findings);
  const taken = new Set(ours.flat().map(({ name }) => canonicalAccountName(name)));
  const used = candidates.filter(({ name }) => !taken.has(canonicalAccountName(name)));
  return {
    credentials,
    openclaw: typeof openclaw === "object" && used.length > 0 ? { ...openclaw, candidates: used } : undefined,
  };
}

/** OpenClaw's file, if it is named; its usual place counts only while no other account is known. */
function readOpenClaw(haveAccounts: boolean, reading: Reading): OpenClawFile | "unreadable" | undefined {
  const { openclaw } = FILE_VARIABLES;
  const usual = join(openClawDirectory(reading), "openclaw.json");
  const named = readVariable(openclaw, reading);
  if (named === undefined && (haveAccounts || !existsSync(usual))) return undefined;
  const place = typeof named === "object" ? named : { value: usual, source: openclaw.env };
  return readOpenClawFile(place, reading) ?? "unreadable";
}

/** Where OpenClaw keeps its file, by its own variables. */
function openClawDirectory(reading: Reading): string {
  const { env, homeDir } = reading;
  const state = env.get("OPENCLAW_STATE_DIR");
  if (state !== undefined) return locate(state, reading);
  const home = env.get("OPENCLAW_HOME");
  return join(home === undefined ? homeDir : locate(home, reading), ".openclaw");
}

/** Hints at a misspelt variable. No more than a note: names like ours may be there for others (Kubernetes sets some). */
function noteUnknownVariables({ env, findings }: Reading): void {
  const settings = [...listSettings().map(({ setting }) => setting), ...Object.values(ACCOUNT_FIELDS)];
  const known = [...settings, ...Object.values(FILE_VARIABLES)].flatMap((variable) => {
    const names = [variable.env, ...(variable.aliases ?? [])];
    return "sensitive" in variable && variable.sensitive ? names.flatMap((name) => [name, `${name}_FILE`]) : names;
  });
  for (const name of env.keys()) {
    if (!/^(BRIDGE|DINGTALK)_[A-Z0-9_]+$/.test(name) || known.includes(name)) continue;
    const near = nearest(name, known);
    if (near !== undefined) findings.notes.push(`${name} is not a setting and has no effect; ${near} is one`);
  }
}

/**
 * Defaults under the values, and convict's strict validation of the whole. convict reads no source itself: it would take
 * "8790x" for 8790 and any word for true, stop at the first source that it cannot parse, and not say where a value stood.
 */
function applySchema(values: ReadonlyMap<string, unknown>): Settings {
  const settings = convict<Settings>(convictSchema(SCHEMA) as convict.Schema<Settings>, { env: {}, args: [] });
  for (const [path, value] of values) settings.set<string>(path, value);
  try {
    return settings.validate({ allowed: "strict" }).getProperties();
  } catch (cause) {
    // Every value was checked, so this is a default that its own format refuses.
    const mend = "This is a defect of the bridge: please report it.";
    throw new ConfigError([{ setting: "a default", problem: "does not pass its own check", mend }], cause);
  }
}

function convictSchema(node: object): object {
  const children = Object.entries(node).map(([key, child]: [string, Setting | object]) => {
    if (!("default" in child)) return [key, convictSchema(child)];
    const setting = child;
    const format = (value: unknown): void => {
      const checked = checkSetting(setting, value);
      if ("problem" in checked) throw new Error(checked.problem);
    };
    const { doc, sensitive = false } = setting;
    return [key, { doc, sensitive, default: setting.default, format }];
  });
  return Object.fromEntries(children) as object;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) deepFreeze(child);
    Object.freeze(value);
  }
  return value;
}
