import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ConfigError, type ConfigProblem, loadConfig } from "../../src/config.ts";

export const APP_KEY = "dingabcd1234efgh5678";
export const APP_SECRET = "AAbbCCdd-1122_secret-of-main";
export const CREDENTIALS = { DINGTALK_APP_KEY: APP_KEY, DINGTALK_APP_SECRET: APP_SECRET };

export type LoadOptions = Parameters<typeof loadConfig>[0];

/** An empty directory that serves as home and working directory. */
export class Place implements Disposable {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), "config-")));

  /** Writes a file, an object as JSON, and gives its path. */
  write(name: string, content: string | object): string {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    return path;
  }

  load(env: LoadOptions["env"], flags: LoadOptions["flags"] = {}): ReturnType<typeof loadConfig> {
    return loadConfig({ env, flags, homeDir: this.dir, cwd: this.dir });
  }

  /** The problems of a configuration that must not load. */
  problems(env: LoadOptions["env"], flags: LoadOptions["flags"] = {}): ConfigProblem[] {
    try {
      this.load(env, flags);
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
      throw error;
    }
    throw new Error("it loaded");
  }

  /** `setting problem` of each. */
  complaints(env: LoadOptions["env"], flags: LoadOptions["flags"] = {}): string[] {
    return this.problems(env, flags).map(({ setting, problem }) => `${setting} ${problem}`.replaceAll(this.dir, "."));
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** `{ a: { b: value } }` for `a.b`. */
export function nested(path: string, value: unknown): Record<string, unknown> {
  const [first = "", ...rest] = path.split(".");
  return { [first]: rest.length === 0 ? value : nested(rest.join("."), value) };
}

/** The value at `a.b`. */
export function at(value: unknown, path: string): unknown {
  let found = value;
  for (const key of path.split(".")) found = (found as Record<string, unknown>)[key];
  return found;
}
