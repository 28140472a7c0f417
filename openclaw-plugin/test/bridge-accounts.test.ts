import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, loadConfig } from "../../src/config.ts";
import { tokensOf } from "../../src/domain/account.ts";
import { listAccountIds, resolveAccount } from "../src/accounts.ts";

/** Both sides read one file: what the plugin takes for an account has to be one for the bridge, with the same secrets. */

interface Seen {
  name: string;
  enabled: boolean;
  appKey: string;
  appSecret: string;
  tokens: readonly string[];
  botName: string | undefined;
}
type Section = Record<string, unknown>;
type Env = Record<string, string>;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "accounts-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const byName = (accounts: Seen[]): Seen[] => accounts.toSorted((a, b) => (a.name < b.name ? -1 : 1));

/** As the plugin reads them; those without credentials have no tokens. */
function ofPlugin(dingtalk: Section, env: Env = {}): Seen[] {
  const cfg = { channels: { dingtalk } };
  return byName(
    listAccountIds(cfg, env).map((id) => {
      const { bridgeAccount, enabled, appKey, appSecret, tokens, name } = resolveAccount(cfg, id, env);
      return { name: bridgeAccount, enabled, appKey, appSecret, tokens, botName: name };
    }),
  );
}

/** As the bridge reads them, or what it says is wrong. */
function ofBridge(dingtalk: Section, env: Env = {}): Seen[] | string[] {
  const path = join(directory, "openclaw.json");
  writeFileSync(path, JSON.stringify({ channels: { dingtalk } }));
  try {
    const { config } = loadConfig({ env: { ...env, OPENCLAW_CONFIG: path }, homeDir: directory, cwd: directory });
    return byName(
      config.accounts.map((account) => {
        const { name, enabled, appKey, appSecret, botName } = account;
        return { name, enabled, appKey, appSecret, tokens: tokensOf(account, config.tokens), botName };
      }),
    );
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ problem }) => problem);
    throw error;
  }
}

const ONE = { appKey: "key-of-one", appSecret: "secret-of-one" };
const TWO = { clientId: "key-of-two", clientSecret: "secret-of-two" };
const TOKEN = "a-token-of-sixteen-or-more";
const OTHER = "another-of-sixteen-or-more";

describe("bridge and plugin see the same accounts", () => {
  it.each<[string, Section, Env?]>([
    [
      "as the wizard writes it",
      { enabled: true, dmPolicy: "pairing", accounts: { main: { ...ONE, botName: "小助手" } } },
    ],
    ["at the top level alone", { ...TWO, botName: "one" }],
    ["the other names of the credentials", { accounts: { main: TWO } }],
    ["one under OpenClaw's own name", { accounts: { default: ONE } }],
    ["half above, half below", { appKey: "key", name: "not ours", accounts: { main: { clientSecret: "secret" } } }],
    ["main over the top level", { ...ONE, botName: "top", accounts: { main: { appSecret: "mine", name: "n" } } }],
    ["a blank name over a name", { ...ONE, botName: "top", accounts: { main: { botName: "" } } }],
    ["credentials and names are not inherited", { ...ONE, botName: "top", accounts: { support: TWO } }],
    ["a token is", { ...ONE, bridgeToken: TOKEN, accounts: { support: TWO } }],
    [
      "but for one with its own",
      { bridgeToken: TOKEN, accounts: { main: ONE, support: { ...TWO, bridgeToken: OTHER } } },
    ],
    ["or one that wants none", { bridgeToken: TOKEN, accounts: { main: ONE, support: { ...TWO, bridgeToken: "" } } }],
    ["two tokens", { ...ONE, bridgeToken: `${TOKEN}, ${OTHER}` }],
    ["one is disabled", { ...ONE, accounts: { support: { ...TWO, enabled: false } } }],
    ["blanks around and instead", { appKey: " key-of-one ", clientId: "  ", appSecret: "secret-of-one\n" }],
    [
      "nulls",
      { ...ONE, clientId: null, enabled: null, bridgeToken: null, accounts: { support: { ...TWO, enabled: null } } },
    ],
    [
      "the secret in the environment",
      { accounts: { main: { appKey: "key-of-one" } } },
      { DINGTALK_APP_SECRET: "s-of-env" },
    ],
    ["a stale key in the environment", { accounts: { main: ONE } }, { DINGTALK_CLIENT_ID: "stale" }],
    ["the environment's token", { accounts: { main: ONE, support: TWO } }, { BRIDGE_TOKEN: `${TOKEN},${OTHER}` }],
  ])("%s", (_, dingtalk, env) => {
    const accounts = ofPlugin(dingtalk, env);
    expect(accounts.length).toBeGreaterThan(0);
    expect(ofBridge(dingtalk, env)).toEqual(accounts);
  });

  it("or the bridge says what is wrong", () => {
    const section = (keys: readonly string[], values: readonly string[]) =>
      fc.record(
        Object.fromEntries(
          keys.map((key) => [key, fc.constantFrom(...values.map((value) => `${key.slice(-3)}-${value}`), "")]),
        ),
        { requiredKeys: [] },
      );
    const account = fc
      .tuple(
        section(["appKey", "clientKey", "appSecret", "clientSecret"], ["1", "2", "3"]),
        section(["bridgeToken"], [TOKEN, OTHER]),
        section(["botName", "name"], ["a", "b"]),
        fc.record({ enabled: fc.boolean() }, { requiredKeys: [] }),
      )
      .map(
        ([{ clientKey, ...credentials }, ...others]): Section =>
          Object.assign({}, credentials, clientKey === undefined ? {} : { clientId: clientKey }, ...others) as Section,
      );
    const accounts = fc.dictionary(fc.constantFrom("main", "support", "sales"), account, { noNullPrototype: true });
    let loaded = 0;
    fc.assert(
      fc.property(account, accounts, (top, below) => {
        const dingtalk = { ...top, accounts: below };
        const isDisputed = ({ name }: Seen): boolean =>
          disputed(name === "main" ? ownFirst(top, below["main"] ?? {}) : (below[name] ?? {}));
        const all = ofPlugin(dingtalk);
        // A disabled account that cannot be read is nobody's.
        const counted = all.filter((one) => one.enabled || (one.tokens.length > 0 && !isDisputed(one)));
        const keys = counted.map(({ appKey }) => appKey);
        const wrong =
          counted.some((one) => one.tokens.length === 0 || isDisputed(one)) ||
          new Set(keys).size < keys.length ||
          counted.every(({ enabled }) => !enabled);
        const seen = ofBridge(dingtalk);
        if (wrong) expect(seen.every((one) => typeof one === "string")).toBe(true);
        else expect(seen).toEqual(counted);
        loaded += wrong ? 0 : 1;
      }),
      { numRuns: 1_000 },
    );
    expect(loaded).toBeGreaterThan(10);
  });
});

const NAMES = [
  ["appKey", "clientId"],
  ["appSecret", "clientSecret"],
];

/** A credential of the account hides that of the top level, whatever it is called. */
function ownFirst(top: Section, own: Section): Section {
  const hidden = NAMES.filter((names) => names.some((name) => own[name] !== undefined)).flat();
  return { ...Object.fromEntries(Object.entries(top).filter(([name]) => !hidden.includes(name))), ...own };
}

/** Two names of one credential that say different things: the plugin takes one, the bridge asks. */
function disputed(section: Section): boolean {
  return NAMES.some((names) => {
    const values = names.map((name) => section[name]).filter((value) => typeof value === "string" && value !== "");
    return new Set(values).size > 1;
  });
}
