import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const HERE = join(import.meta.dirname, "..");
const VERSIONS = join(HERE, "versions");

/** One OpenClaw that the tests can run against: a folder with a lock file. */
export interface Release {
  version: string;
  folder: string;
}

/** Which release the tests of this process run against; unset is the newest. */
export const RELEASE_VARIABLE = "OPENCLAW_TEST_RELEASE";

/** Set where only what matters most is to be tested; see `isShort`. */
export const SHORT_VARIABLE = "OPENCLAW_TEST_SHORT";

/** The oldest release is tested with less on every run, and with everything by `--all`. */
export const isShort = (): boolean => Boolean(process.env[SHORT_VARIABLE]);

/** All of them, the newest first. The newest is the one that the plugin's types are checked against. */
export function releases(): Release[] {
  const folders = readdirSync(VERSIONS).map((name) => join(VERSIONS, name));
  return [HERE, ...folders]
    .filter((folder) => existsSync(join(folder, "package.json")))
    .map((folder) => ({ version: wanted(folder), folder }))
    .toSorted((one, other) => compare(other.version, one.version));
}

/** The release that this process tests. Throws when there is no such folder. */
export function release(): Release {
  const all = releases();
  const version = process.env[RELEASE_VARIABLE] || all[0]?.version;
  const found = all.find((one) => one.version === version);
  if (!found) throw new Error(`no OpenClaw ${version} in test/openclaw/versions; there are ${names(all)}`);
  return found;
}

/** Whether this process tests that version or a newer one. */
export const atLeast = (version: string): boolean => compare(release().version, version) >= 0;

/** There `openclaw message send` refuses every channel that is not OpenClaw's own (openclaw/openclaw#137516). */
export const refusesToSend = (): boolean => ["2026.8.1", "2026.8.2"].includes(release().version);

export const names = (all: Release[]): string => all.map(({ version }) => version).join(", ");

/** `2026.7.35` before `2026.8.1`. Negative when the first one is older. */
export function compare(one: string, other: string): number {
  const [a, b] = [one, other].map((version) => version.split(/[.-]/).map(Number));
  const at = a!.findIndex((part, index) => part !== b![index]);
  return at < 0 ? 0 : a![at]! - (b![at] ?? 0);
}

function wanted(folder: string): string {
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    dependencies: { openclaw: string };
  };
  return dependencies.openclaw;
}
