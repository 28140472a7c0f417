import { expect, test } from "vitest";
import { APP_KEY, APP_SECRET, CREDENTIALS, Place } from "./support.ts";

const SUPPORT = { appKey: "dingijkl1234mnop5678", appSecret: "AAbbCCdd-1122_secret-of-support" };
const USUAL = ".openclaw/openclaw.json";
const channel = (dingtalk: unknown): object => ({ agents: { $include: "./agents.json5" }, channels: { dingtalk } });

test("the usual place counts while no account is configured elsewhere, and the log names it", () => {
  using place = new Place();
  const path = place.write(
    USUAL,
    `{ // as OpenClaw writes it
      channels: { telegram: { botToken: "t" }, dingtalk: { appKey: "${APP_KEY}", appSecret: '${APP_SECRET}', botName: "x", dmPolicy: "open", }, },
    }`,
  );
  const { config, notes } = place.load({});
  expect(config.accounts).toEqual([
    {
      name: "main",
      appKey: APP_KEY,
      appSecret: APP_SECRET,
      robotCode: APP_KEY,
      enabled: true,
      botName: "x",
      reply: config.reply,
    },
  ]);
  expect(notes).toEqual([`accounts read from ${path}`]);
});

test("with an account elsewhere the usual place is not even opened", () => {
  using place = new Place();
  place.write(USUAL, "not JSON");
  expect(place.load(CREDENTIALS).notes).toEqual([]);
  const BRIDGE_CONFIG = place.write("c.json5", { accounts: { support: SUPPORT } });
  expect(place.load({ BRIDGE_CONFIG }).config.accounts).toHaveLength(1);
});

test.each(["OPENCLAW_CONFIG", "OPENCLAW_CONFIG_PATH"])("a file named by %s is read besides", (variable) => {
  using place = new Place();
  const path = place.write("oc.json", channel({ ...SUPPORT, accounts: { support: SUPPORT } }));
  const { config, notes } = place.load({ ...CREDENTIALS, [variable]: "oc.json" });
  expect(config.accounts.map(({ name, appKey }) => [name, appKey])).toEqual([
    ["main", APP_KEY],
    ["support", SUPPORT.appKey],
  ]);
  expect(notes).toEqual([
    `accounts read from ${path}`,
    `account main of ${path} is ignored: the environment has it too`,
  ]);
});

test("flags of both kinds of file: ours goes before OpenClaw's", () => {
  using place = new Place();
  place.write("oc.json", channel({ accounts: { support: { appKey: "other", appSecret: "other-secret" } } }));
  const BRIDGE_CONFIG = place.write("c.json5", { accounts: { support: SUPPORT } });
  const { accounts } = place.load({ BRIDGE_CONFIG, OPENCLAW_CONFIG: "oc.json" }).config;
  expect(accounts.map(({ appKey }) => appKey)).toEqual([SUPPORT.appKey]);
});

test.each([
  [{ clientId: APP_KEY, clientSecret: APP_SECRET }, ["main"]],
  [{ accounts: { main: { appKey: APP_KEY, appSecret: APP_SECRET } } }, ["main"]],
  [{ accounts: { default: { appKey: APP_KEY, clientSecret: APP_SECRET } } }, ["main"]],
  [{ appKey: APP_KEY, accounts: { default: { appSecret: APP_SECRET } } }, ["main"]],
  [{ appKey: APP_KEY, appSecret: APP_SECRET, accounts: { support: SUPPORT } }, ["main", "support"]],
  [{ accounts: { support: SUPPORT, sales: { appKey: "k", appSecret: "s" } } }, ["support", "sales"]],
  [{ accounts: { support: { clientId: SUPPORT.appKey, clientSecret: SUPPORT.appSecret } } }, ["support"]],
  [{ ...SUPPORT, clientId: SUPPORT.appKey, clientSecret: SUPPORT.appSecret }, ["main"]],
  [{ appKey: " ", clientId: APP_KEY, appSecret: null, clientSecret: APP_SECRET }, ["main"]],
  [{ appKey: APP_KEY, clientSecret: APP_SECRET, accounts: { main: { botName: "x" } } }, ["main"]],
])("channels.dingtalk = %j gives %j", (dingtalk, names) => {
  using place = new Place();
  place.write(USUAL, channel(dingtalk));
  expect(place.load({}).config.accounts.map(({ name }) => name)).toEqual(names);
});

test("enabled: false, for one and for all", () => {
  using place = new Place();
  const accounts = { support: { ...SUPPORT, enabled: false } };
  place.write(USUAL, channel({ appKey: APP_KEY, appSecret: APP_SECRET, accounts }));
  expect(place.load({}).config.accounts.map(({ name, enabled }) => [name, enabled])).toEqual([
    ["main", true],
    ["support", false],
  ]);
  place.write(USUAL, channel({ enabled: false, accounts: { support: SUPPORT } }));
  expect(place.complaints({})).toEqual([`accounts (in ./${USUAL}) are all disabled`]);
});

test("a disabled account may have credentials that only OpenClaw can read", () => {
  using place = new Place();
  const spare = { appKey: "k", appSecret: { source: "store", provider: "default", id: "x" }, enabled: false };
  const path = place.write(USUAL, channel({ accounts: { support: SUPPORT, spare } }));
  const { config, notes } = place.load({});
  expect(config.accounts.map(({ name }) => name)).toEqual(["support"]);
  expect(notes).toContain(`account spare (in ${path}) is disabled there and left out`);
});

test("variables of a disabled account may be missing; those of a bot's name, too", () => {
  using place = new Place();
  const spare = { appKey: "k", appSecret: "${NOT_THERE}", enabled: false };
  place.write(USUAL, channel({ accounts: { support: { ...SUPPORT, botName: "${TEAM} bot" }, spare } }));
  const names = (env: Record<string, string>) =>
    place.load(env).config.accounts.map(({ name, botName }) => [name, botName]);
  expect(names({ TEAM: "A" })).toEqual([["support", "A bot"]]);
  expect(names({})).toEqual([["support", undefined]]);
});

test("variables in the text", () => {
  using place = new Place();
  place.write(USUAL, channel({ appKey: "${KEY}", appSecret: "a-${PART_1}-$${PART_1}-${lower}" }));
  const [main] = place.load({ KEY: APP_KEY, PART_1: "one" }).config.accounts;
  expect(main).toMatchObject({ appKey: APP_KEY, appSecret: "a-one-${PART_1}-${lower}" });
  expect(place.complaints({ PART_1: "", KEY: APP_KEY })).toEqual([
    `channels.dingtalk.appSecret (in ./${USUAL}) refers to PART_1, which is not set for the bridge`,
  ]);
});

test.each([
  [
    { appKey: APP_KEY, appSecret: { source: "env", provider: "default", id: "X" } },
    "appSecret",
    "is a reference that only OpenClaw can read (SecretRef)",
  ],
  [{ appKey: APP_KEY, appSecret: 5 }, "appSecret", "is not text"],
  [{ appKey: APP_KEY }, "appSecret", "is missing"],
  [{ appSecret: APP_SECRET }, "appKey", "is missing"],
  [{ appKey: APP_KEY, clientId: "other", appSecret: APP_SECRET }, "appKey", "and clientId are both there and differ"],
  [{ $include: "x.json5", appKey: APP_KEY, appSecret: APP_SECRET }, "$include", "is not followed by the bridge"],
  [{ accounts: { $include: "x.json5", support: SUPPORT } }, "accounts.$include", "is not followed by the bridge"],
  [{ accounts: { a: { $include: "x" }, support: SUPPORT } }, "accounts.a.$include", "is not followed by the bridge"],
  [{ accounts: { a: "x", support: SUPPORT } }, "accounts.a", "is not an object"],
  [{ ...SUPPORT, accounts: ["support"] }, "accounts", "is not an object"],
  [
    { appKey: { source: "file", provider: "p", id: "x" }, appSecret: APP_SECRET },
    "appKey",
    "is a reference that only OpenClaw can read (SecretRef)",
  ],
  [
    { clientId: APP_KEY, clientSecret: "${NOT_THERE}" },
    "clientSecret",
    "refers to NOT_THERE, which is not set for the bridge",
  ],
  [
    { accounts: { support: { appKey: "k", appSecret: "one", clientSecret: "other" } } },
    "accounts.support.appSecret",
    "and clientSecret are both there and differ",
  ],
  [{ ...SUPPORT, enabled: "false" }, "enabled", "is not `true` or `false`"],
  [{ accounts: { support: { ...SUPPORT, enabled: "yes" } } }, "accounts.support.enabled", "is not `true` or `false`"],
  [
    { accounts: { support: { appKey: APP_KEY } }, appSecret: APP_SECRET, appKey: "k" },
    "accounts.support.appSecret",
    "is missing",
  ],
])("channels.dingtalk = %j is refused", (dingtalk, path, problem) => {
  using place = new Place();
  place.write(USUAL, channel(dingtalk));
  expect(place.complaints({})).toContain(`channels.dingtalk.${path} (in ./${USUAL}) ${problem}`);
  const mends = place.problems({}).map(({ mend }) => mend);
  expect(mends.every((mend) => mend.length > 10)).toBe(true);
});

test("$include above the channel, and names that are one account", () => {
  using place = new Place();
  place.write(USUAL, { $include: "all.json5", channels: { dingtalk: SUPPORT } });
  expect(place.complaints({})).toEqual([`$include (in ./${USUAL}) is not followed by the bridge`]);
  place.write(USUAL, { channels: { $include: "c.json5", dingtalk: SUPPORT } });
  expect(place.complaints({})).toEqual([`channels.$include (in ./${USUAL}) is not followed by the bridge`]);
  const other = { appKey: "k", appSecret: "s" };
  place.write(USUAL, channel({ accounts: { main: SUPPORT, default: other } }));
  expect(place.complaints({})).toEqual([`account default (in ./${USUAL}) is there twice`]);
});

test("a file without the channel, a broken one, one that is not there", () => {
  using place = new Place();
  place.write(USUAL, { channels: {} });
  expect(place.complaints({})).toEqual([
    `DINGTALK_APP_KEY and DINGTALK_APP_SECRET are not set, and there is no account in ./${USUAL}`,
  ]);
  place.write(USUAL, "{ channels: { dingtalk: { appSecret: s3cr3t");
  expect(place.complaints({})).toEqual([`./${USUAL} is not valid JSON5 at line 1, column 38`]);
  expect(place.complaints({ ...CREDENTIALS, OPENCLAW_CONFIG: "./none.json" })).toEqual([
    'OPENCLAW_CONFIG names a file "./none.json" that does not exist',
  ]);
});
