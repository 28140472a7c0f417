import type { AccountField, Candidate } from "./config-accounts.ts";
import { type Section, inFile, isSection, own, parseSettingsFile } from "./config-file.ts";
import { type Way, bridgeWay, gatewayWay, readTokens } from "./config-openclaw-bridge.ts";
import { type Here, WAY_OUT, isBlank, readText, variablesOf } from "./config-openclaw-text.ts";
import type { Reading, Text } from "./config-sources.ts";

/** The names that OpenClaw's plugins use for one credential. */
const KEYS = { appKey: ["appKey", "clientId"], appSecret: ["appSecret", "clientSecret"] } as const;

const PREFIX = "channels.dingtalk.";

interface Account {
  id: string;
  /** What stands under its name. */
  own: Section;
  /** What stands above that and is its own as well: nothing but for the default account. */
  above: Section;
  /** Where its credentials stand: for the default account the top level counts too. */
  section: Section;
  /** Its own keys over those of the top level. */
  inherited: Section;
  /** Path of one of its keys. */
  place: (key: string) => string;
  /** Path of one that it may have inherited. */
  inheritedPlace: (key: string) => string;
}

/** An `openclaw.json` as the bridge reads it. */
export interface OpenClawFile {
  path: string;
  candidates: Candidate[];
  way: Way;
}

/**
 * Accounts of `channels.dingtalk` in an `openclaw.json`, as OpenClaw's plugin reads them (openclaw-plugin/src/accounts.ts; a test holds
 * both to it): the top level is the account `main` (OpenClaw's `default`), `accounts.<id>` are the others; `accounts.main` adds to
 * the top level. Keys that are none of our business are ignored. Undefined if the file cannot be read.
 */
export function readOpenClawFile(named: Text, reading: Reading): OpenClawFile | undefined {
  const parsed = parseSettingsFile(named, reading);
  if (parsed === undefined) return undefined;
  const { path, root } = parsed;
  const { findings } = reading;
  const here = { path, variable: variablesOf(path, root, reading.env), problems: findings.problems };
  const channels = enter(root, "", "channels", here);
  const top = enter(channels, "channels.", "dingtalk", here);
  const accounts = enter(top, PREFIX, "accounts", here);
  const candidates: Candidate[] = [];
  const bridgeUrls: { text: string; source: string }[] = [];
  for (const account of listAccounts(top, accounts, here)) {
    // A disabled account may well have credentials that only OpenClaw can read.
    const problems: Here["problems"] = [];
    const candidate = readAccount(account, { ...here, problems });
    const enabled = candidate.enabled && own(top, "enabled") !== false;
    const complete = problems.length === 0 && candidate.fields.appKey && candidate.fields.appSecret;
    if (enabled || complete) {
      findings.problems.push(...problems);
      candidates.push({ ...candidate, enabled });
      if (enabled) bridgeUrls.push(...bridgeUrlOf(account, here));
    } else findings.notes.push(`${inFile(`account ${account.id}`, here)} is disabled there and left out`);
  }
  const way: Way = { settings: new Map(), notes: [] };
  gatewayWay(root, here, way);
  bridgeWay(bridgeUrls, way);
  return { path, candidates, way };
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
  const add = (id: string, section: Section): void => {
    const prefix = `${PREFIX}accounts.${id}.`;
    const isIn = (key: string): boolean => own(section, key) !== undefined && own(section, key) !== null;
    const inheritedPlace = (key: string): string => (isIn(key) ? `${prefix}${key}` : `${PREFIX}${key}`);
    const given = Object.entries(section).filter(([, value]) => value !== undefined && value !== null);
    const inherited = { ...top, ...Object.fromEntries(given) };
    const place = isDefault(id) ? inheritedPlace : (key: string): string => `${prefix}${key}`;
    listed.push({
      id,
      own: section,
      above: isDefault(id) ? top : {},
      section: isDefault(id) ? ownFirst(top, section) : section,
      inherited,
      place,
      inheritedPlace,
    });
  };
  for (const [id, section] of Object.entries(accounts)) {
    const prefix = `${PREFIX}accounts.${id}`;
    if (id === "$include") continue;
    if (!isSection(section))
      here.problems.push({ setting: inFile(prefix, here), problem: "is not an object", mend: WAY_OUT });
    else if (Object.hasOwn(section, "$include")) refuseInclude(`${prefix}.`, here);
    else add(id, section);
  }
  const credentials = Object.values(KEYS).flat();
  if (credentials.some((key) => !isBlank(own(top, key))) && !listed.some(({ id }) => isDefault(id))) {
    add("default", {});
    listed.unshift(...listed.splice(-1));
  }
  return listed;
}

/** As the plugin has it: a key of the account hides the top level's key under either name, and the same for the secret. */
function ownFirst(top: Section, section: Section): Section {
  const shared = { ...top };
  for (const names of Object.values(KEYS)) {
    if (names.some((name) => own(section, name) !== undefined)) for (const name of names) delete shared[name];
  }
  return { ...shared, ...section };
}

const isDefault = (id: string): boolean => id === "default" || id === "main";

function readAccount(account: Account, here: Here): Candidate {
  const { id, section, inherited, place, inheritedPlace } = account;
  const label = (field: string): string => inFile(place(field), here);
  const enabled = own(section, "enabled") ?? true;
  if (typeof enabled !== "boolean") {
    here.problems.push({ setting: label("enabled"), problem: "is not `true` or `false`", mend: "Write one of them." });
  }
  const fields: Candidate["fields"] = {};
  for (const [field, keys] of Object.entries(KEYS) as [keyof typeof KEYS, readonly string[]][]) {
    const given = keys.filter((key) => !isBlank(own(section, key)));
    const values = given.map((key) => readText(own(section, key), label(key), here));
    const differ = values.find((value) => value !== values[0]);
    if (differ !== undefined && values[0] !== undefined) {
      const problem = `and ${given[1] ?? ""} are both there and differ`;
      here.problems.push({ setting: label(given[0] ?? field), problem, mend: "Keep one of them." });
    }
    const [value] = differ === undefined ? values : [undefined];
    if (given[0] !== undefined) fields[field] = value === undefined ? "refused" : { value, source: label(given[0]) };
  }
  const tokenSource = inFile(inheritedPlace("bridgeToken"), here);
  const token = readTokens(own(inherited, "bridgeToken"), tokenSource, here);
  return {
    name: id,
    origin: here.path,
    fields,
    enabled: enabled !== false,
    label: (field: AccountField) => label(field),
    ...(token !== undefined && { token: { value: token, source: tokenSource } }),
    ...botNameOf(account, here),
  };
}

/** A name at the top level is that of the default account alone. One that cannot be read is none: nothing depends on it. */
function botNameOf({ own: account, above }: Account, here: Here): { botName?: string } {
  const names = [own(account, "botName"), own(account, "name"), own(above, "botName"), own(above, "name")];
  const given = names.find((one) => typeof one === "string" && !isBlank(one));
  const name = given === undefined ? undefined : readText(given, "botName", { ...here, problems: [] });
  return name === undefined || isBlank(name) ? {} : { botName: name };
}

function bridgeUrlOf({ inherited, inheritedPlace }: Account, here: Here): { text: string; source: string }[] {
  const value = own(inherited, "bridgeUrl");
  const source = inFile(inheritedPlace("bridgeUrl"), here);
  // Without one the plugin calls the port that is the bridge's own default.
  const text = isBlank(value) ? "http://127.0.0.1:8790" : readText(value, source, here);
  return text === undefined ? [] : [{ text: text.replace(/\/+$/, ""), source }];
}
