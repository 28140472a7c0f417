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

const isAugust = (): boolean => ["2026.8.1", "2026.8.2"].includes(release().version);

/** There `openclaw message send` refuses every channel that is not OpenClaw's own (openclaw/openclaw#137516). */
export const refusesToSend = isAugust;

/** Where the warnings of `openclaw channels status`, `openclaw doctor` and the like are of OpenClaw's own channels only, this is false. */
export const hasStatusWarnings = (): boolean => atLeast("2026.9.6");

/** There a command that needs an approval is denied by OpenClaw itself as soon as the run that asked for it is over. */
export const approvalsEndWithRun = isAugust;

/** From here on OpenClaw takes several messages of a conversation at a time; the plugin gives older ones one after another. */
export const takesSeveral = (): boolean => atLeast("2026.9.6");

/** Whether `/new` and the like end a run that is going on; before, they wait for its end. */
export const commandsOvertake = (): boolean => atLeast("2026.8.1");

/** There a plugin that was installed from a folder has to be uninstalled before it can be installed from a package. */
export const keepsKindOfInstallation = isAugust;

/** What `openclaw plugins install` has to be told where nobody can be asked; older ones do not ask. */
export const consent = (): string[] => (atLeast("2026.8.1") ? ["--accept-capabilities"] : []);

/** Where `openclaw channels add` knows a plugin's channel as an argument, with the plugin's own flags; before, it shows a list. */
export const addsByName = (): boolean => atLeast("2026.8.1");

/** Where somebody who spoke to the robot is told when the model has nothing to say. */
export const explainsSilence = (): boolean => atLeast("2026.9.6");

/** Where `openclaw health` and `openclaw status --deep` say how a channel is, not only that it is configured. */
export const tellsHealth = (): boolean => atLeast("2026.8.1");

/** Where what OpenClaw sends by itself has buttons in words, names the message that it answers, and a job says why it reached nobody. */
export const tellsOfSending = (): boolean => atLeast("2026.8.1");

/** Several agents, the first of them the default one, as this release wants them in the `agents` section of its configuration. */
export function agentRoster(ids: string[]): Record<string, unknown> {
  const marked = ids.map((id, index) => ({ id, ...(index === 0 && { default: true }) }));
  if (!atLeast("2026.8.1")) return { list: marked };
  if (!atLeast("2026.9.6")) return { entries: Object.fromEntries(marked.map(({ id, ...entry }) => [id, entry])) };
  return { entries: Object.fromEntries(ids.map((id) => [id, {}])) };
}

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
