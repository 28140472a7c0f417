import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Release, names, releases } from "./support/release.ts";

/*
 * npm run test:openclaw: installs the OpenClaw releases of the lock files where they are not there, builds the plugin and runs the tests
 * against real gateways: all of them on the newest release, what matters most on the oldest. The last line says PASSED or FAILED.
 *
 *   -- --all               everything on every release
 *   -- --only 2026.8.1     everything on one release
 *   -- --files replies     only test files with this in their name
 */
const here = import.meta.dirname;
const root = join(here, "..", "..");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

function fail(why: string): never {
  console.log(`openclaw: FAILED (${why})`);
  process.exit(1);
}

function run(what: string, command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv = {}): void {
  const { status, error } = spawnSync(command, args, { cwd, stdio: "inherit", env: { ...process.env, ...env } });
  if (status !== 0) fail(`${what}${error ? `: ${error.message}` : ""}`);
}

const options = { all: { type: "boolean" }, only: { type: "string" }, files: { type: "string" } } as const;
const { all, only, files } = parseArgs({ options }).values;

/** The releases to test, and whether with less than everything. */
function choose(): { release: Release; short: boolean }[] {
  const known = releases();
  if (only !== undefined) {
    const release = known.find(({ version }) => version === only);
    if (!release) fail(`no OpenClaw ${only}; there are ${names(known)}`);
    return [{ release, short: false }];
  }
  const [newest, oldest] = [known[0]!, known.at(-1)!];
  if (all) return known.map((release) => ({ release, short: false }));
  return [
    { release: newest, short: false },
    { release: oldest, short: true },
  ];
}

function installed({ folder }: Release): string | undefined {
  const path = join(folder, "node_modules", "openclaw", "package.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version : undefined;
}

const chosen = choose();
// The types that the plugin is checked against are the newest one's.
for (const release of new Set([releases()[0]!, ...chosen.map((one) => one.release)])) {
  if (installed(release) === release.version) continue;
  run(`npm ci of OpenClaw ${release.version}`, "npm", ["ci", "--no-audit", "--no-fund"], release.folder);
}
run("plugin types", bin("tsc"), ["-p", join(root, "openclaw-plugin", "tsconfig.json")], root);
run("plugin unit tests", bin("vitest"), ["run", "--root", join(root, "openclaw-plugin")], root);
run("plugin build", bin("tsc"), ["-p", join(root, "openclaw-plugin", "tsconfig.build.json")], root);
run("tests", bin("vitest"), ["run", "--config", join(here, "vitest.config.ts"), ...(files ? [files] : [])], root, {
  OPENCLAW_TEST_RELEASES: chosen.map(({ release, short }) => `${release.version}${short ? "!" : ""}`).join(","),
  OPENCLAW_TEST_BAIL: process.env["OPENCLAW_TEST_BAIL"] ?? (all ? "0" : "1"),
});
console.log(`openclaw: PASSED (OpenClaw ${names(chosen.map(({ release }) => release))})`);
