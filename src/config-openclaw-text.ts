import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { type Section, isSection, own } from "./config-file.ts";
import type { ConfigProblem } from "./config-problems.ts";
import { isReadable } from "./config-sources.ts";

export const WAY_OUT =
  "Write the value or ${VARIABLE} there, or give the bridge the credentials itself: DINGTALK_APP_KEY and DINGTALK_APP_SECRET, or BRIDGE_CONFIG for several accounts.";

/** What is read, and where to report. */
export interface Here {
  path: string;
  variable: (name: string) => string | undefined;
  problems: ConfigProblem[];
}

/**
 * The variables that texts of an `openclaw.json` may name: those of the process, of the `.env` beside the file, and of its
 * `env.vars`, in OpenClaw's own order.
 */
export function variablesOf(path: string, root: Section, env: ReadonlyMap<string, string>): Here["variable"] {
  const block = own(root, "env");
  const vars = isSection(block) ? own(block, "vars") : undefined;
  let dotenv: NodeJS.Dict<string> | undefined;
  return (name) => {
    const found = env.get(name);
    if (found !== undefined) return found;
    dotenv ??= readDotenv(join(dirname(path), ".env"));
    const inline = isSection(vars) ? own(vars, name) : undefined;
    return filled(dotenv[name]) ?? (typeof inline === "string" ? filled(inline) : undefined);
  };
}

const filled = (text: string | undefined): string | undefined => (text === "" ? undefined : text);

/** Nothing where there is no such file, or where it is not for the bridge to read: what it lacks is named by its variable. */
function readDotenv(path: string): NodeJS.Dict<string> {
  try {
    return isReadable(path) ? parseEnv(readFileSync(path, "utf8")) : {};
  } catch {
    return {};
  }
}

/** Nothing is written there: a blank text counts as little as a missing one. */
export const isBlank = (value: unknown): boolean =>
  value === undefined || value === null || (typeof value === "string" && value.trim() === "");

/** Plain text with `${VAR}` replaced as OpenClaw does it (upper-case names; `$${VAR}` stands for itself). */
export function readText(value: unknown, setting: string, here: Here): string | undefined {
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
    const found = here.variable(name);
    if (found === undefined) missing.add(name);
    return found ?? "";
  });
  for (const name of missing) {
    here.problems.push({
      setting,
      problem: `refers to ${name}, which is not set for the bridge`,
      mend: `Set ${name} in the bridge's environment, or in the .env beside that file.`,
    });
  }
  return missing.size === 0 ? text : undefined;
}
