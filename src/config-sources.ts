import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ConfigProblem, Findings } from "./config-problems.ts";

/** A value and where it stood, in the words of a problem: a variable, a flag, or a path and its file. */
export interface Given {
  value: unknown;
  source: string;
}

export interface Text extends Given {
  value: string;
}

/** What every reader of a source gets. */
export interface Reading {
  /** Trimmed, without empty variables: an empty variable counts as unset. */
  env: ReadonlyMap<string, string>;
  /** Where relative paths start. */
  cwd: string;
  homeDir: string;
  findings: Findings;
}

interface Variable {
  env: string;
  aliases?: readonly string[];
  sensitive?: boolean;
}

const MAX_SECRET_BYTES = 64 * 1024;
const HANDED_OVER = /^\/(dev\/(fd\/\d+|stdin)|proc\/self\/fd\/\d+)$/;
export const NO_FILE = "is no file";

export function presentVariables(env: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const present = Object.entries(env).map(([name, value]) => [name, value?.trim() ?? ""] as const);
  return new Map(present.filter(([, value]) => value !== ""));
}

/** Absolute; `~/` is the home directory, because an env file does not expand it. */
export function locate(path: string, { cwd, homeDir }: Reading): string {
  return /^~(?=$|[/\\])/.test(path) ? join(homeDir, path.slice(1)) : resolve(cwd, path);
}

/**
 * Reads a variable by its first name that is set. Two names that differ are a problem where `exclusive` (half of one
 * pair of credentials with half of another), else a note.
 */
export function readVariable(variable: Variable, reading: Reading, exclusive = false): Text | "refused" | undefined {
  const { env, findings } = reading;
  const found: Text[] = [];
  let refused = false;
  for (const name of [variable.env, ...(variable.aliases ?? [])]) {
    const direct = asText(env.get(name), name);
    const file = variable.sensitive ? asText(env.get(`${name}_FILE`), `${name}_FILE`) : undefined;
    const text = chooseSecret(direct, file, reading);
    if (text === "refused") refused = true;
    else if (text !== undefined) found.push(text);
  }
  const [first] = found;
  const other = found.find(({ value }) => value !== first?.value);
  if (refused || first === undefined) return refused ? "refused" : undefined;
  if (other === undefined) return first;
  if (!exclusive) {
    findings.notes.push(`${first.source} is used; ${other.source} differs and is ignored`);
    return first;
  }
  findings.problems.push({
    setting: first.source,
    problem: `and ${other.source} are both set and differ`,
    mend: "They are two names for one thing: unset one of them.",
  });
  return "refused";
}

/** A variable's or flag's text; empty counts as unset. */
export function asText(text: string | undefined, source: string): Text | undefined {
  const value = text?.trim() ?? "";
  return value === "" ? undefined : { value, source };
}

/** A secret as it stands, or from the file that the second setting names. Both are one too many. */
export function chooseSecret<T extends Given>(
  direct: T | undefined,
  file: Text | undefined,
  reading: Reading,
): T | Text | "refused" | undefined {
  if (file === undefined) return direct;
  const { problems } = reading.findings;
  if (direct !== undefined) {
    problems.push({ setting: direct.source, problem: `and ${file.source} are both set`, mend: "Keep one of them." });
    return "refused";
  }
  const read = readSecretFile(locate(file.value, reading));
  if (typeof read === "string") return { value: read, source: file.source };
  problems.push({
    setting: file.source,
    problem: `names a file${quotePath(file.value)} that ${read.problem}`,
    mend: "Give the path of a readable file that holds the secret and nothing else.",
  });
  return "refused";
}

/** For messages. Somebody may have put a secret where a path belongs: only what is plainly a path is repeated. */
function quotePath(path: string): string {
  return /^(~?\/|\.{1,2}\/|[A-Za-z]:\\)|\.json5?$/.test(path) ? ` ${JSON.stringify(path)}` : "";
}

/**
 * Whether reading `path` comes to an end. A named pipe without a writer is waited for, and meanwhile no signal is heard, at a start as at
 * a SIGHUP (seen); a device could be read for ever. A pipe that the shell hands over (`<(…)`, `|`) has its writer already. Throws as
 * `stat` does.
 */
export function isReadable(path: string): boolean {
  const stat = statSync(path);
  return stat.isFile() || (stat.isFIFO() && HANDED_OVER.test(path));
}

function readSecretFile(path: string): string | { problem: string } {
  try {
    if (!isReadable(path)) return { problem: NO_FILE };
    if (statSync(path).size > MAX_SECRET_BYTES) return { problem: "is too large for a secret" };
    const text = readFileSync(path, "utf8").trim();
    return text === "" ? { problem: "is empty" } : text;
  } catch (error) {
    return { problem: fileTrouble(error) };
  }
}

/** The text of the file that a setting names, or the problem. */
export function readSettingsFile(named: Text, reading: Reading): { path: string; text: string } | ConfigProblem {
  const path = locate(named.value, reading);
  const wrong = (problem: string): ConfigProblem => ({
    setting: named.source,
    problem: `names a file${quotePath(named.value)} that ${problem}`,
    mend: "Give the path of a readable JSON5 file.",
  });
  try {
    // A directory says so itself.
    if (!isReadable(path) && !statSync(path).isDirectory()) return wrong(NO_FILE);
    return { path, text: readFileSync(path, "utf8").replace(/^\uFEFF/, "") };
  } catch (error) {
    return wrong(fileTrouble(error));
  }
}

/** Why a file could not be read; goes on after "that". */
function fileTrouble(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return "does not exist";
    case "EACCES":
    case "EPERM":
      return "may not be read by this user";
    case "EISDIR":
      return "is a directory";
    default:
      return `cannot be read (${codeOf(error) ?? "unknown reason"})`;
  }
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
