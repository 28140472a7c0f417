import { readFileSync, statSync } from "node:fs";
import { parseEnv } from "node:util";
import type { Findings } from "./config-problems.ts";
import { NO_FILE, isReadable } from "./config-sources.ts";
import { listSettings } from "./config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "./config-variables.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Nobody there. `.env` is also what Python calls a directory of its own. */
const ABSENT: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR", "EISDIR"]);

/**
 * The environment with what the file at `path` adds. What is in the environment goes first, under whichever of its names: a
 * `DINGTALK_CLIENT_ID` there keeps the file's `DINGTALK_APP_KEY` out. A file that is not there adds nothing.
 */
export function withEnvFile(env: Env, path: string, findings: Findings): Env {
  const added = read(path, findings);
  if (added === undefined) return env;
  const groups = namesOfSettings();
  const isTaken = (name: string): boolean => env[name] !== undefined;
  const used = Object.entries(added).filter(([name]) => !(groups.get(name) ?? [name]).some(isTaken));
  const ours = used.map(([name]) => name).filter((name) => groups.has(name));
  const differing = Object.entries(added).filter(
    ([name, value]) => isTaken(name) && env[name]?.trim() !== value?.trim(),
  );
  const hidden = differing.map(([name]) => name).filter((name) => groups.has(name));
  if (ours.length > 0) findings.notes.push(`${ours.join(", ")} read from ${path}`);
  if (hidden.length > 0)
    findings.notes.push(`${hidden.join(", ")} in ${path} differs from the environment and is ignored`);
  return { ...Object.fromEntries(used), ...env };
}

function read(path: string, { problems }: Findings): Record<string, string | undefined> | undefined {
  try {
    if (!isReadable(path) && !statSync(path).isDirectory()) {
      problems.push({ setting: path, problem: NO_FILE, mend: "Put a file there, or move it away." });
      return undefined;
    }
    return parseEnv(readFileSync(path, "utf8").replace(/^\uFEFF/, ""));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (ABSENT.has(code)) return undefined;
    const problem = code === "EACCES" || code === "EPERM" ? "may not be read by this user" : "cannot be read";
    const mend = `Give this user the right to read it (chown, with mode 0600), or move it away.`;
    problems.push({ setting: path, problem, mend });
    return undefined;
  }
}

/** For each variable all the names of its setting. */
function namesOfSettings(): Map<string, readonly string[]> {
  const settings = [...listSettings().map(({ setting }) => setting), ...Object.values(ACCOUNT_FIELDS)];
  const groups = new Map<string, readonly string[]>();
  for (const variable of [...settings, ...Object.values(FILE_VARIABLES)]) {
    const plain = [variable.env, ...(variable.aliases ?? [])];
    const isSecret = "sensitive" in variable && variable.sensitive;
    const names = isSecret ? plain.flatMap((name) => [name, `${name}_FILE`]) : plain;
    for (const name of names) groups.set(name, names);
  }
  return groups;
}
