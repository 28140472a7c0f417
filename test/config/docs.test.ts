import { readFileSync } from "node:fs";
import { join } from "node:path";
import JSON5 from "json5";
import { expect, test } from "vitest";
import {
  accountsExample,
  configurationMarkdown,
  defaultJson5,
  envExample,
} from "../../scripts/generators/config-docs.ts";
import { listSettings } from "../../src/config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "../../src/config-variables.ts";
import { APP_SECRET, CREDENTIALS, Place, at } from "./support.ts";

const root = join(import.meta.dirname, "../..");

test.each([
  ["config/default.json5", defaultJson5],
  ["config/example.accounts.json5", accountsExample],
  [".env.example", envExample],
  ["docs/configuration.md", configurationMarkdown],
])("%s is what the schema gives", (path, generate) => {
  expect(readFileSync(join(root, path), "utf8")).toBe(generate());
});

test("config/default.json5 as it stands changes nothing", () => {
  using place = new Place();
  const BRIDGE_CONFIG = join(root, "config/default.json5");
  expect(place.load({ ...CREDENTIALS, BRIDGE_CONFIG }).config).toEqual(place.load(CREDENTIALS).config);
});

test("config/default.json5 names every setting that has a default", () => {
  const file: unknown = JSON5.parse(readFileSync(join(root, "config/default.json5"), "utf8"));
  const withDefault = listSettings().filter(({ setting }) => setting.default !== undefined);
  expect(withDefault.filter(({ path }) => at(file, path) === undefined)).toEqual([]);
});

test("the example with several accounts loads", () => {
  using place = new Place();
  place.write("secrets/main", `${APP_SECRET}\n`);
  place.write("secrets/support", "another-secret\n");
  const { config } = place.load({ BRIDGE_CONFIG: join(root, "config/example.accounts.json5") });
  expect(config.accounts.map(({ name, enabled }) => [name, enabled])).toEqual([
    ["main", true],
    ["support", true],
  ]);
  expect(config.delivery.onUncertain).toBe("hold");
});

test("the examples in docs/configuration.md load", () => {
  using place = new Place();
  place.write("secrets/main", APP_SECRET);
  place.write("secrets/support", "another-secret");
  const [ours, theirs] = [...configurationMarkdown().matchAll(/```json5\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
  expect(place.load({ BRIDGE_CONFIG: place.write("c.json5", ours ?? "") }).config.accounts).toHaveLength(2);
  place.write(".openclaw/openclaw.json", theirs ?? "");
  const env = { DINGTALK_MAIN_SECRET: APP_SECRET, DINGTALK_SUPPORT_SECRET: "another-secret" };
  expect(place.load(env).config.accounts.map(({ name }) => name)).toEqual(["main", "support"]);
});

test(".env.example as it stands is refused for its placeholders only; filled in it changes nothing", () => {
  using place = new Place();
  const env = parseEnv(readFileSync(join(root, ".env.example"), "utf8"));
  expect(place.complaints(env)).toEqual([
    "DINGTALK_APP_KEY is still the placeholder of an example",
    "DINGTALK_APP_SECRET is still the placeholder of an example",
  ]);
  expect(place.load({ ...env, ...CREDENTIALS }).config).toEqual(place.load(CREDENTIALS).config);
});

test(".env.example has every variable, and its commented lines are the defaults", () => {
  using place = new Place();
  const all = parseEnv(readFileSync(join(root, ".env.example"), "utf8").replace(/^#(?=[A-Z])/gm, ""));
  const known = [...listSettings().map(({ setting }) => setting), ...Object.values(ACCOUNT_FIELDS)];
  const names = [...known, ...Object.values(FILE_VARIABLES)].map(({ env }) => env);
  expect(Object.keys(all).toSorted()).toEqual(names.toSorted());
  const examples = [...known.filter((one) => "example" in one), ...Object.values(FILE_VARIABLES)].map(({ env }) => env);
  const defaults = Object.fromEntries(Object.entries(all).filter(([name]) => !examples.includes(name)));
  expect(place.load({ ...defaults, ...CREDENTIALS }).config).toEqual(place.load(CREDENTIALS).config);
  const token = { BRIDGE_TOKEN: all["BRIDGE_TOKEN"] };
  expect(place.complaints({ ...CREDENTIALS, ...token })).toEqual([
    "BRIDGE_TOKEN is still the placeholder of an example",
  ]);
});

test("docs/configuration.md names every path and variable", () => {
  const page = configurationMarkdown();
  for (const { path, setting } of listSettings()) {
    expect(page).toContain(`\`${path}\``);
    for (const name of [setting.env, ...(setting.aliases ?? [])]) expect(page).toContain(`\`${name}\``);
  }
});

function parseEnv(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}
