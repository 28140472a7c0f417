import type { Candidate } from "./config-accounts.ts";
import { type Section, inFile, isSection, own } from "./config-file.ts";
import { checkSetting, fromText, splitTokens } from "./config-formats.ts";
import type { Findings } from "./config-problems.ts";
import { SCHEMA } from "./config-schema.ts";
import type { Given } from "./config-sources.ts";
import { type Here, isBlank, readText } from "./config-openclaw-text.ts";

/** Hosts at which the bridge listens unless it is told otherwise. */
const OWN_HOSTS: ReadonlySet<string> = new Set(["127.0.0.1", "localhost"]);

/**
 * What an `openclaw.json` says of the way between the gateway and the bridge, as settings of ours by path. `log` is for settings that
 * are used: it says where they stand.
 */
export interface Way {
  settings: Map<string, Given & { log: string }>;
  notes: string[];
}

/** `gateway.port`: the gateway is on this machine, for its file is. */
export function gatewayWay(root: Section, here: Here, way: Way): void {
  const section = own(root, "gateway");
  if (!isSection(section)) return;
  const named = (key: string): string => inFile(`gateway.${key}`, here);
  const tls = own(section, "tls");
  const isTls = isSection(tls) && own(tls, "enabled") === true;
  if (isTls || own(section, "mode") === "remote") {
    const what = isTls ? `${named("tls.enabled")} is on` : `${named("mode")} is remote`;
    way.notes.push(`${what}: set BRIDGE_GATEWAY_URL to the address of the gateway`);
    return;
  }
  const given = own(section, "port");
  if (given === undefined) return;
  // What only OpenClaw can read is no reason not to start: its usual port may be right.
  const text = typeof given === "number" ? String(given) : readText(given, named("port"), { ...here, problems: [] });
  const port = portOf(text ?? "");
  if (port === undefined) {
    way.notes.push(
      `${named("port")} cannot be read by the bridge: set BRIDGE_GATEWAY_URL to the address of the gateway`,
    );
    return;
  }
  const value = `http://127.0.0.1:${port}`;
  if (value === SCHEMA.gateway.url.default) return;
  way.settings.set("gateway.url", { value, source: named("port"), log: `the gateway is at ${value}` });
}

/** `bridgeUrl` of the accounts: the port that the plugin calls is the one to listen on. */
export function bridgeWay(urls: readonly { text: string; source: string }[], way: Way): void {
  const [first, ...others] = urls;
  if (!first) return;
  if (others.some(({ text }) => text !== first.text)) {
    way.notes.push(`${first.source} is not the same for all accounts: BRIDGE_PORT says where this bridge listens`);
    return;
  }
  const { text, source } = first;
  const url = URL.parse(text);
  const isPlain = url?.protocol === "http:" && url.pathname === "/" && url.username === "" && !/[?#]/.test(text);
  if (!url || !isPlain || !OWN_HOSTS.has(url.hostname)) {
    way.notes.push(
      `${source} is no plain address of this machine: BRIDGE_HOST and BRIDGE_PORT say where the bridge listens`,
    );
    return;
  }
  const port = portOf(url.port || "80");
  if (port === undefined || port === SCHEMA.server.port.default) return;
  way.settings.set("server.port", { value: port, source, log: `the API is at port ${port}` });
}

function portOf(text: string): number | undefined {
  const checked = checkSetting(SCHEMA.server.port, fromText(SCHEMA.server.port, text.trim()));
  return "value" in checked && typeof checked.value === "number" && checked.value > 0 ? checked.value : undefined;
}

/** `bridgeToken`: the gateway's plugin uses nothing else then. */
export function readTokens(value: unknown, setting: string, here: Here): string | undefined {
  if (isBlank(value)) return undefined;
  const text = readText(value, setting, here);
  if (text === undefined) return undefined;
  const checked = checkSetting(SCHEMA.token, text);
  if ("value" in checked) return text;
  here.problems.push({ setting, ...checked });
  return undefined;
}

/** Says what is used of the file, and what of it another setting overrules. */
export function logWay(way: Way, values: ReadonlyMap<string, unknown>, findings: Findings): void {
  findings.notes.push(...way.notes);
  for (const [path, { value, source, log }] of way.settings) {
    if (values.get(path) === value) findings.notes.push(`${log}, by ${source}`);
    else findings.notes.push(`${source} is not used: ${path} is set elsewhere`);
  }
}

/** `tokens`: those of BRIDGE_TOKEN. */
export function logTokens(accounts: readonly Candidate[], tokens: readonly string[], findings: Findings): void {
  const told = new Set<string>();
  for (const { token } of accounts) {
    if (!token || told.has(token.source)) continue;
    told.add(token.source);
    const theirs = splitTokens(String(token.value));
    const overruled = tokens.length > 0 && !tokens.some((one) => theirs.includes(one));
    findings.notes.push(
      overruled
        ? `BRIDGE_TOKEN is used; ${token.source} differs and is ignored here, but not by the plugin`
        : `the token is that of ${token.source}`,
    );
  }
}
