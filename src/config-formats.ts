import { parseTarget } from "./domain/target.ts";
import { BlockList, isIP } from "node:net";

/** What `checkSetting` needs to know of a setting. */
interface Bounds {
  format: FormatName;
  min?: number;
  max?: number;
  choices?: readonly string[];
}

export interface Wrong {
  problem: string;
  mend: string;
}

export type Checked = { value: unknown } | Wrong;

export type FormatName = keyof typeof FORMATS;

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const TRUE = ["true", "1", "yes", "on"];
const FALSE = ["false", "0", "no", "off"];
const TOKEN_LENGTH = 16;

/**
 * Checks a value as it stands in a file and gives it in the form in which it is used; what comes out passes again
 * unchanged. Neither `problem` nor `mend` quotes the value.
 */
export function checkSetting(setting: Bounds, value: unknown): Checked {
  return FORMATS[setting.format].check(value, setting);
}

/** A value from a variable or flag, in the type that a file would have; left alone when it does not read as one. */
export function fromText(setting: Bounds, text: string): unknown {
  if (setting.format === "count" && /^\d+$/.test(text)) return Number(text);
  if (setting.format === "duration" && /^\d+$/.test(text)) return Number(text);
  if (setting.format === "switch" && TRUE.includes(text.toLowerCase())) return true;
  if (setting.format === "switch" && FALSE.includes(text.toLowerCase())) return false;
  return text;
}

/** What may stand there, for the documents and for the mend of a wrong value. */
export function describeFormat(setting: Bounds): string {
  return FORMATS[setting.format].describe(setting);
}

/** `30_000` as `30s`: the largest unit that divides it. */
export function formatDuration(ms: number): string {
  const units = Object.entries(UNITS).reverse();
  const [unit, size] = units.find(([, size]) => ms % size === 0 && ms >= size) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** A credential: printable ASCII without blanks, not the example's placeholder, not still in the quotes of an env file. */
export function checkSecret(text: string): Wrong | undefined {
  const quoted = checkQuotes(text);
  if (quoted !== undefined) return quoted;
  if (/^(your[-_ ]|change[-_ ]?me|replace[-_ ]?me|x{3,}$|<.*>$|\.{3}|…)/i.test(text)) {
    return { problem: "is still the placeholder of an example", mend: "Put the real value there." };
  }
  if (!/^[\x21-\x7e]+$/.test(text)) {
    return {
      problem: "has blanks, line breaks or characters other than ASCII in it",
      mend: "Copy it again, alone and complete.",
    };
  }
  return undefined;
}

function checkQuotes(text: string): Wrong | undefined {
  if (!/^(["']).*\1$/s.test(text)) return undefined;
  return {
    problem: "is wrapped in quotes",
    mend: "Remove them: `docker --env-file` takes quotes as part of the value.",
  };
}

const FORMATS = {
  text: { check: checkText, describe: () => "text" },
  list: { check: checkList, describe: () => "words separated by commas, or a list" },
  targets: {
    check: checkTargets,
    describe: () => "`user:<staffId>` or `conversation:<id>`, several separated by commas",
  },
  token: { check: checkToken, describe: () => `at least ${TOKEN_LENGTH} characters, or two such separated by a comma` },
  switch: { check: checkSwitch, describe: () => "`true` or `false`" },
  count: {
    check: checkCount,
    describe: ({ min, max }: Bounds) => `a whole number from ${min ?? 0} to ${max ?? "any"}`,
  },
  duration: {
    check: checkDuration,
    describe: ({ min, max }: Bounds) =>
      `a time from ${formatDuration(min ?? 0)} to ${formatDuration(max ?? 0)}: milliseconds, or a number with ms, s, m, h or d`,
  },
  choice: {
    check: checkChoice,
    describe: ({ choices }: Bounds) => `one of ${(choices ?? []).map((one) => `\`${one}\``).join(", ")}`,
  },
  gatewayUrl: { check: checkGatewayUrl, describe: () => "an http(s) URL without credentials, query or fragment" },
  dingtalkUrl: { check: checkDingtalkUrl, describe: () => "an https URL without credentials, query or fragment" },
  proxyUrl: {
    check: checkProxyUrl,
    describe: () => "an http(s) URL, with user and password where the proxy asks for them",
  },
  path: { check: checkPath, describe: () => "a path that begins with `/`, without query or fragment" },
  host: { check: checkHost, describe: () => "an IP address or a host name, without port" },
  directory: { check: checkText, describe: () => "a directory" },
};

function wrong(setting: Bounds, problem = "cannot be used"): Wrong {
  return { problem, mend: `Give ${describeFormat(setting)}.` };
}

/** `"a, b"` or `["a", "b"]`; empty is a list of none. */
function checkList(value: unknown): Checked {
  const words: unknown = typeof value === "string" ? value.split(",") : value;
  const good = Array.isArray(words) && words.every((word) => typeof word === "string" && word.length <= 200);
  if (!good) return { problem: "is not a list of words", mend: 'Write "one, two" or ["one", "two"].' };
  return { value: (words as string[]).map((word) => word.trim()).filter((word) => word !== "") };
}

/** A list of those whom a message can go to. */
function checkTargets(value: unknown, setting: Bounds): Checked {
  const list = checkList(value);
  if (!("value" in list)) return list;
  const named = list.value as string[];
  return named.every((target) => parseTarget(target)) ? list : wrong(setting, "names somebody in another form");
}

function checkText(value: unknown, setting: Bounds): Checked {
  if (typeof value !== "string" || value.trim() === "") return wrong(setting);
  // A NUL makes every file call throw, and the others never stand in a name on purpose.
  return /\p{Cc}/u.test(value) ? wrong(setting, "has control characters in it") : { value };
}

function checkToken(value: unknown, setting: Bounds): Checked {
  if (typeof value !== "string") return wrong(setting);
  const tokens = splitTokens(value);
  if (tokens.length === 0) return wrong(setting, "holds no token");
  if (tokens.length > 2) return wrong(setting, "holds more than two tokens");
  const unfit = checkQuotes(value.trim()) ?? tokens.map(checkSecret).find((found) => found !== undefined);
  if (unfit !== undefined) return unfit;
  if (tokens.some((token) => token.length < TOKEN_LENGTH)) {
    return { problem: `is shorter than ${TOKEN_LENGTH} characters`, mend: "Make one with `openssl rand -hex 32`." };
  }
  return { value };
}

/** The tokens of a `token` setting, each once. */
export function splitTokens(text: string): string[] {
  const tokens = text.split(",").map((token) => token.trim());
  return [...new Set(tokens.filter((token) => token !== ""))];
}

function checkSwitch(value: unknown, setting: Bounds): Checked {
  return typeof value === "boolean" ? { value } : wrong(setting);
}

function checkCount(value: unknown, setting: Bounds): Checked {
  return Number.isSafeInteger(value) && within(value as number, setting) ? { value } : wrong(setting);
}

function checkDuration(value: unknown, setting: Bounds): Checked {
  const ms = typeof value === "string" ? parseDuration(value) : value;
  return Number.isSafeInteger(ms) && within(ms as number, setting) ? { value: ms } : wrong(setting);
}

function parseDuration(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,15}) ?(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  return digits === undefined ? undefined : Number(digits) * UNITS[unit as keyof typeof UNITS];
}

function within(value: number, { min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds): boolean {
  return value >= min && value <= max;
}

function checkChoice(value: unknown, setting: Bounds): Checked {
  const given = typeof value === "string" ? value.trim().toLowerCase() : undefined;
  const chosen = setting.choices?.find((choice) => choice.toLowerCase() === given);
  return chosen === undefined ? wrong(setting) : { value: chosen };
}

function checkGatewayUrl(value: unknown, setting: Bounds): Checked {
  const url = parseUrl(typeof value === "string" ? value.replace(/^\s*ws(?=s?:)/i, "http") : value);
  return url === undefined ? wrong(setting) : checkBase(url, setting);
}

function checkDingtalkUrl(value: unknown, setting: Bounds): Checked {
  const url = parseUrl(value);
  if (url === undefined) return wrong(setting);
  if (url.protocol === "http:" && !isNear(url.hostname)) {
    return {
      problem: "is a plain http URL of a public host, where the App Secret would travel readable",
      mend: "Write https. Plain http is for this machine and private networks.",
    };
  }
  return checkBase(url, setting);
}

function parseUrl(value: unknown): URL | undefined {
  if (typeof value !== "string" || /\p{Cc}/u.test(value)) return undefined;
  const url = URL.parse(value.trim());
  return url !== null && ["http:", "https:"].includes(url.protocol) && url.hostname !== "" ? url : undefined;
}

/** Paths are appended to it, so it ends without a slash. */
function checkBase(url: URL, setting: Bounds): Checked {
  if (url.username !== "" || url.password !== "") return wrong(setting, "has credentials in it");
  if (/[?#]/.test(url.href)) return wrong(setting, "has a query or a fragment");
  return { value: url.href.replace(/\/+$/, "") };
}

function checkProxyUrl(value: unknown, setting: Bounds): Checked {
  if (typeof value !== "string") return wrong(setting);
  // curl and most others take "host:port" for http, so it stands in many environments.
  const url = parseUrl(/^[a-z][a-z\d+.-]*:\/\//i.test(value.trim()) ? value : `http://${value.trim()}`);
  if (url === undefined || url.pathname !== "/" || /[?#]/.test(url.href)) return wrong(setting);
  return { value: url.href.replace(/\/$/, "") };
}

function checkPath(value: unknown, setting: Bounds): Checked {
  if (typeof value !== "string") return wrong(setting);
  const path = value.trim();
  const plain = /^\/[\w\-.~!$&'()*+,;=:@%/]+$/.test(path) && !path.includes("//") && !/\/\.\.?(\/|$)/.test(path);
  return plain ? { value: path } : wrong(setting);
}

function checkHost(value: unknown, setting: Bounds): Checked {
  if (typeof value !== "string") return wrong(setting);
  const host = value.trim();
  // Digits and dots alone are a broken address, not a name.
  const name =
    /^(?=.{1,253}$)[a-z\d]([a-z\d-]*[a-z\d])?(\.[a-z\d]([a-z\d-]*[a-z\d])?)*$/i.test(host) && !/^[\d.]+$/.test(host);
  return name || isIP(host) !== 0 ? { value: host } : wrong(setting);
}

/** This machine, a private network, or a name that no public DNS has. */
function isNear(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(host);
  if (family === 0) return !host.includes(".") || /\.(localhost|local|internal|lan|test)$/i.test(host);
  const near = new BlockList();
  for (const [net, prefix] of [
    ["127.0.0.0", 8],
    ["10.0.0.0", 8],
    ["172.16.0.0", 12],
    ["192.168.0.0", 16],
    ["169.254.0.0", 16],
    ["100.64.0.0", 10],
  ] as const) {
    near.addSubnet(net, prefix, "ipv4");
  }
  for (const [net, prefix] of [
    ["::1", 128],
    ["fc00::", 7],
    ["fe80::", 10],
  ] as const)
    near.addSubnet(net, prefix, "ipv6");
  return near.check(host, family === 4 ? "ipv4" : "ipv6");
}
