import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/*
 * npm run test:openclaw: installs the OpenClaw of this folder's lock file when it is not there, builds the plugin and runs
 * the tests against the real gateway. The last line says PASSED or FAILED.
 */
const here = import.meta.dirname;
const root = join(here, "..", "..");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

const version = (path: string): string | undefined =>
  existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version : undefined;

function run(what: string, command: string, args: string[], cwd: string): void {
  const { status, error } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (status === 0) return;
  console.log(`openclaw: FAILED (${what}${error ? `: ${error.message}` : ""})`);
  process.exit(1);
}

const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8")) as {
  packages: Record<string, { version: string }>;
};
const wanted = lock.packages["node_modules/openclaw"]?.version;
if (version(join(here, "node_modules", "openclaw", "package.json")) !== wanted) {
  run("npm ci", "npm", ["ci", "--no-audit", "--no-fund"], here);
}
run("plugin types", bin("tsc"), ["-p", join(root, "openclaw-plugin", "tsconfig.json")], root);
run("plugin unit tests", bin("vitest"), ["run", "--root", join(root, "openclaw-plugin")], root);
run("plugin build", bin("tsc"), ["-p", join(root, "openclaw-plugin", "tsconfig.build.json")], root);
run("tests", bin("vitest"), ["run", "--config", join(here, "vitest.config.ts")], root);
console.log(`openclaw: PASSED (OpenClaw ${wanted})`);
