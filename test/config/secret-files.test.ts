import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { listSettings } from "../../src/config-schema.ts";
import { ACCOUNT_FIELDS } from "../../src/config-variables.ts";
import { APP_KEY, APP_SECRET, CREDENTIALS, Place, at, nested } from "./support.ts";

/** A value of each secret, and where it is found in the configuration. A new one has to be added here. */
const VALUES: Record<string, { value: string; where: string }> = {
  token: { value: "0123456789abcdef", where: "tokens.0" },
  "proxy.https": { value: "http://user:word@proxy.example:3128", where: "proxy.https" },
  appKey: { value: APP_KEY, where: "accounts.0.appKey" },
  appSecret: { value: APP_SECRET, where: "accounts.0.appSecret" },
};

const secrets = [
  ...listSettings().flatMap(({ path, setting }) => (setting.sensitive ? [{ path, variable: setting }] : [])),
  ...Object.entries(ACCOUNT_FIELDS).flatMap(([path, variable]) => (variable.sensitive ? [{ path, variable }] : [])),
].flatMap(({ path, variable }) => [variable.env, ...(variable.aliases ?? [])].map((name) => ({ path, name })));

/** The credentials, but for the one that comes from elsewhere. */
function others(path: string): Record<string, string> {
  const { DINGTALK_APP_KEY, DINGTALK_APP_SECRET } = CREDENTIALS;
  if (path === "appKey") return { DINGTALK_APP_SECRET };
  return path === "appSecret" ? { DINGTALK_APP_KEY } : CREDENTIALS;
}

test("every secret is known here", () => {
  expect([...new Set(secrets.map(({ path }) => path))].toSorted()).toEqual(Object.keys(VALUES).toSorted());
});

describe.each(secrets)("$name_FILE", ({ path, name }) => {
  const { value, where } = VALUES[path] ?? { value: "", where: "" };

  test.each(["", "\n", "\r\n", "\n\n"])("gives the secret without what an editor puts at the end: %j", (end) => {
    using place = new Place();
    place.write("secret", `${value}${end}`);
    expect(at(place.load({ ...others(path), [`${name}_FILE`]: "secret" }).config, where)).toBe(value);
  });

  test.each([
    ["./nowhere", "does not exist"],
    ["./", "is no file"],
    ["./empty", "is empty"],
  ])("names itself and the file when that cannot be used: %s", (file, problem) => {
    using place = new Place();
    place.write("empty", " \n");
    const setting = `${name}_FILE`;
    expect(place.problems({ ...others(path), [setting]: file })).toEqual([
      {
        setting,
        problem: `names a file "${file}" that ${problem}`,
        mend: "Give the path of a readable file that holds the secret and nothing else.",
      },
    ]);
  });

  test("may not be there beside the secret itself", () => {
    using place = new Place();
    place.write("secret", value);
    expect(place.complaints({ ...others(path), [name]: value, [`${name}_FILE`]: "secret" })).toEqual([
      `${name} and ${name}_FILE are both set`,
    ]);
  });
});

test.each([
  ["tokenFile", "token"],
  ["proxy.httpsFile", "proxy.https"],
  ["accounts.main.appSecretFile", "appSecret"],
])("%s says the same in a file, and names itself when it cannot be used", (key, secret) => {
  using place = new Place();
  const { value, where } = VALUES[secret] ?? { value: "", where: "" };
  const load = (file: string) => {
    const account = nested("accounts.main", { appKey: APP_KEY, appSecret: APP_SECRET });
    if (secret !== "appSecret") return { ...account, ...nested(key, file) };
    return nested("accounts.main", { appKey: APP_KEY, appSecretFile: file });
  };
  place.write("secret", `${value}\n`);
  const config = (file: string): { BRIDGE_CONFIG: string } => ({ BRIDGE_CONFIG: place.write("c.json5", load(file)) });
  expect(at(place.load(config("secret")).config, where)).toBe(value);
  expect(place.complaints(config("./nowhere"))).toEqual([
    `${key} (in ./c.json5) names a file "./nowhere" that does not exist`,
  ]);
});

describe("a pipe", () => {
  // In a process of its own: what waits for a writer hears nothing, not even the end of this test's patience.
  const load = (env: Record<string, string>, script: string) => {
    const source = new URL("../../src/main.ts", import.meta.url).pathname;
    const { stdout, stderr, status } = spawnSync("bash", ["-c", script, "bash", process.execPath, source], {
      env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...env },
      encoding: "utf8",
      timeout: 20_000,
      killSignal: "SIGKILL",
    });
    return { said: stdout + stderr, status };
  };
  const makePipe = (path: string): void => void execFileSync("bash", ["-c", 'mkfifo "$0"', path]);
  const CHECK = 'exec "$1" "$2" config --check';

  test.each([
    ["DINGTALK_APP_SECRET_FILE", "DINGTALK_APP_SECRET_FILE names a file"],
    ["BRIDGE_CONFIG", "BRIDGE_CONFIG names a file"],
    ["OPENCLAW_CONFIG", "OPENCLAW_CONFIG names a file"],
  ])("with a name is not waited for: %s", (name, said) => {
    using place = new Place();
    const pipe = join(place.dir, "pipe");
    makePipe(pipe);
    const found = load({ ...(name === "BRIDGE_CONFIG" ? CREDENTIALS : others("appSecret")), [name]: pipe }, CHECK);
    expect(found.status).toBe(78);
    expect(found.said).toContain(`${said} "${pipe}" that is no file`);
  });

  test("as .env is not waited for", () => {
    using place = new Place();
    makePipe(join(place.dir, ".env"));
    for (const command of ["config --check", "init --app-key x --app-secret-stdin < /dev/null"]) {
      const found = load({ ...CREDENTIALS, PLACE: place.dir }, `cd "$PLACE" && exec "$1" "$2" ${command}`);
      expect(found.said).toMatch(/\.env (is|cannot be read: it is) no file/);
    }
  });

  test.each([
    ["DINGTALK_APP_SECRET_FILE=<(echo $WORD) ", ""],
    ["echo $WORD | DINGTALK_APP_SECRET_FILE=/dev/stdin ", ""],
    ["DINGTALK_APP_SECRET_FILE=/dev/stdin ", ' <<< "$WORD"'],
  ])("that the shell hands over is read: %s…%s", (before, after) => {
    const env = { ...others("appSecret"), WORD: APP_SECRET };
    const found = load(env, `${before}"$1" "$2" config --check${after}`);
    expect(found).toMatchObject({ status: 0, said: expect.stringContaining("The settings can be used") as string });
  });
});

// The superuser may read everything.
test.skipIf(process.getuid?.() === 0)("a file that belongs to somebody else", () => {
  using place = new Place();
  chmodSync(place.write("secret", APP_SECRET), 0o000);
  expect(place.complaints({ ...others("appSecret"), DINGTALK_APP_SECRET_FILE: "./secret" })).toEqual([
    'DINGTALK_APP_SECRET_FILE names a file "./secret" that may not be read by this user',
  ]);
});
