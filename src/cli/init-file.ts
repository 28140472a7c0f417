import {
  chmodSync,
  existsSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { parseEnv } from "node:util";
import { coerceError } from "../domain/errors.ts";
import { CommandError } from "./command.ts";

export interface Credentials {
  appKey: string;
  appSecret: string;
}

/** Every name that a credential can have there; the first is what is written. */
const NAMES = {
  appKey: ["DINGTALK_APP_KEY", "DINGTALK_CLIENT_ID"],
  appSecret: ["DINGTALK_APP_SECRET", "DINGTALK_CLIENT_SECRET"],
} as const;

const PLAIN = /^[\w.~+/=:@%-]+$/;
/** The placeholders of .env.example. */
const PLACEHOLDER = /^your[-_ ]/i;

export const namesOf = (field: keyof Credentials): string[] => NAMES[field].flatMap((name) => [name, `${name}_FILE`]);

/** Text of the env file, "" where there is none. Throws CommandError. */
export function readEnvText(path: string): string {
  try {
    // A pipe would be waited for.
    if (existsSync(path) && !statSync(path).isFile()) throw new Error("it is no file");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  } catch (thrown) {
    throw new CommandError(`${path} cannot be read: ${coerceError(thrown).message}`, {
      mend: "give this user the right to read and write it, or move it away",
    });
  }
}

/** Variables of the file that hold a credential already, placeholders and empty ones apart. */
export function credentialsIn(text: string): { name: string; value: string }[] {
  const parsed = parseEnv(text);
  return [...namesOf("appKey"), ...namesOf("appSecret")].flatMap((name) => {
    const value = parsed[name]?.trim() ?? "";
    return value === "" || PLACEHOLDER.test(value) ? [] : [{ name, value }];
  });
}

/** The same text with these credentials: in the place of the first line that had each, else at the end. All other lines stay. */
export function withCredentials(text: string, credentials: Credentials): string {
  const eol = text.includes("\r\n") ? "\r\n" : "\n";
  const lines = text === "" ? [] : text.replace(/\r?\n$/, "").split(/\r?\n/);
  for (const field of ["appKey", "appSecret"] as const) {
    const names = namesOf(field);
    const line = `${NAMES[field][0]}=${quoted(credentials[field])}`;
    const places = lines.flatMap((one, index) => (names.includes(nameIn(one)) ? [index] : []));
    const [first, ...others] = places;
    if (first === undefined) lines.push(line);
    else lines[first] = line;
    for (const index of others.toReversed()) lines.splice(index, 1);
  }
  const written = `${lines.join(eol)}${eol}`;
  const back = parseEnv(written);
  if (back[NAMES.appKey[0]] !== credentials.appKey || back[NAMES.appSecret[0]] !== credentials.appSecret) {
    throw new CommandError("an env file cannot hold these credentials", {
      mend: "copy Client ID and Client Secret again, alone and complete",
    });
  }
  return written;
}

const nameIn = (line: string): string => /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=/.exec(line)?.[1] ?? "";

function quoted(value: string): string {
  if (PLAIN.test(value)) return value;
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}

/** Writes it whole or not at all, for its owner only. Throws CommandError. */
export function writeEnvFile(path: string, text: string): void {
  const target = existsSync(path) ? realpathSync(path) : path;
  const draft = `${target}.new`;
  try {
    rmSync(draft, { force: true });
    writeFileSync(draft, text, { mode: 0o600, flag: "wx" });
    // The mode above is cut by the umask, never widened.
    chmodSync(draft, 0o600);
    renameSync(draft, target);
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw new CommandError(`${path} cannot be written: ${coerceError(thrown).message}`, {
      mend: "run init in a directory that this user may write to",
    });
  }
}
