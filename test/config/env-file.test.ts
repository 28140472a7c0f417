import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { APP_KEY, APP_SECRET, CREDENTIALS, Place } from "./support.ts";

const FILE = `DINGTALK_APP_KEY=${APP_KEY}\nDINGTALK_APP_SECRET=${APP_SECRET}\nBRIDGE_PORT=8791\nOTHER=1\n`;

function load(place: Place, env: Record<string, string> = {}) {
  return loadConfig({ env, cwd: place.dir, homeDir: place.dir, envFile: ".env" });
}

test("what stands in the file holds, and a note names it, without a value", () => {
  using place = new Place();
  const path = place.write(".env", `\uFEFF# mine\n${FILE}`);
  const { config, notes } = load(place);
  expect(config.accounts).toMatchObject([{ appKey: APP_KEY, appSecret: APP_SECRET }]);
  expect(config.server.port).toBe(8791);
  expect(notes).toEqual([`BRIDGE_PORT, DINGTALK_APP_KEY, DINGTALK_APP_SECRET read from ${path}`]);
});

test("the environment goes before it, which a note says where they differ", () => {
  using place = new Place();
  const path = place.write(".env", FILE);
  const { config, notes } = load(place, { BRIDGE_PORT: "8792", DINGTALK_APP_KEY: APP_KEY });
  expect(config.server.port).toBe(8792);
  expect(notes).toEqual([
    `DINGTALK_APP_SECRET read from ${path}`,
    `BRIDGE_PORT in ${path} differs from the environment and is ignored`,
  ]);
});

test.each([
  ["another name of the same setting", "DINGTALK_CLIENT_ID", "dingsomebodyelse0001"],
  ["a variable that is empty, as for Node's own --env-file", "DINGTALK_APP_KEY", ""],
])("%s in the environment keeps the file's out", (_what, name, value) => {
  using place = new Place();
  place.write(".env", FILE);
  const env = { [name]: value, DINGTALK_CLIENT_SECRET: "another-secret" };
  if (value === "") expect(() => load(place, env)).toThrow("DINGTALK_APP_KEY");
  else expect(load(place, env).config.accounts).toMatchObject([{ appKey: value, appSecret: "another-secret" }]);
});

test("a secret file in the environment keeps the file's secret out", () => {
  using place = new Place();
  place.write(".env", FILE);
  const env = { DINGTALK_APP_SECRET_FILE: place.write("secret", "from-a-file") };
  expect(load(place, env).config.accounts).toMatchObject([{ appKey: APP_KEY, appSecret: "from-a-file" }]);
});

describe("nothing is read", () => {
  test("where there is no file, or a directory of that name", () => {
    using place = new Place();
    expect(load(place, CREDENTIALS).notes).toEqual([]);
    mkdirSync(join(place.dir, ".env"));
    expect(load(place, CREDENTIALS).notes).toEqual([]);
  });

  test("unless it is asked for, and of what belongs to others", () => {
    using place = new Place();
    place.write(".env", FILE);
    expect(() => place.load({})).toThrow("DINGTALK_APP_KEY");
    place.write(".env", "OTHER=1\n");
    expect(load(place, CREDENTIALS).notes).toEqual([]);
  });
});

test.skipIf(process.getuid?.() === 0)("one that this user may not read is a problem with a mend", () => {
  using place = new Place();
  chmodSync(place.write(".env", FILE), 0);
  expect(() => load(place, CREDENTIALS)).toThrow(/\.env may not be read by this user\. Give this user the right/);
});
