import { expect, test } from "vitest";
import { APP_KEY, APP_SECRET, CREDENTIALS, Place } from "./support.ts";

const SUPPORT = { appKey: "dingijkl1234mnop5678", appSecret: "AAbbCCdd-1122_secret-of-support" };

test("the aliases of the credentials, and the robot code", () => {
  using place = new Place();
  const { config } = place.load({
    DINGTALK_CLIENT_ID: APP_KEY,
    DINGTALK_CLIENT_SECRET: APP_SECRET,
    DINGTALK_ROBOT_CODE: "dingrobot",
  });
  expect(config.accounts).toEqual([
    {
      name: "main",
      appKey: APP_KEY,
      appSecret: APP_SECRET,
      robotCode: "dingrobot",
      enabled: true,
      reply: config.reply,
    },
  ]);
});

test("two names of one credential may agree and must not differ", () => {
  using place = new Place();
  expect(place.load({ ...CREDENTIALS, DINGTALK_CLIENT_ID: APP_KEY }).config.accounts).toHaveLength(1);
  expect(place.complaints({ ...CREDENTIALS, DINGTALK_CLIENT_ID: SUPPORT.appKey })).toEqual([
    "DINGTALK_APP_KEY and DINGTALK_CLIENT_ID are both set and differ",
  ]);
});

test("half of the credentials", () => {
  using place = new Place();
  expect(place.complaints({ DINGTALK_APP_KEY: APP_KEY })).toEqual(["DINGTALK_APP_SECRET is missing"]);
  expect(place.complaints({ DINGTALK_CLIENT_SECRET: APP_SECRET })).toEqual(["DINGTALK_APP_KEY is missing"]);
});

test("no account at all", () => {
  using place = new Place();
  expect(place.complaints({})).toEqual(["DINGTALK_APP_KEY and DINGTALK_APP_SECRET are not set"]);
  const BRIDGE_CONFIG = place.write("c.json5", { log: { level: "debug" } });
  expect(place.complaints({ BRIDGE_CONFIG })).toEqual([
    "DINGTALK_APP_KEY and DINGTALK_APP_SECRET are not set, and there is no account in ./c.json5",
  ]);
});

test.each([
  ["your-app-secret", "is still the placeholder of an example"],
  ["<secret>", "is still the placeholder of an example"],
  ["changeme", "is still the placeholder of an example"],
  [`"${APP_SECRET}"`, "is wrapped in quotes"],
  ["abc def", "has blanks, line breaks or characters other than ASCII in it"],
  ["秘密", "has blanks, line breaks or characters other than ASCII in it"],
  [SUPPORT.appKey, "is an App Key, not an App Secret"],
  [APP_KEY, "is an App Key, not an App Secret"],
])("the secret %j %s", (secret, problem) => {
  using place = new Place();
  expect(place.complaints({ ...CREDENTIALS, DINGTALK_APP_SECRET: secret })).toEqual([`DINGTALK_APP_SECRET ${problem}`]);
});

test("several accounts from a file, one of them switched off, beside the environment's", () => {
  using place = new Place();
  const file = {
    accounts: {
      support: { ...SUPPORT, robotCode: "robot2" },
      spare: { appKey: "k3", appSecret: "s3", enabled: false },
    },
  };
  const { config, notes } = place.load({ ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", file) });
  expect(config.accounts.map(({ name, robotCode, enabled }) => [name, robotCode, enabled])).toEqual([
    ["main", APP_KEY, true],
    ["support", "robot2", true],
    ["spare", "k3", false],
  ]);
  expect(notes).toEqual([`settings read from ${place.dir}/c.json5`]);
});

test("the environment's main replaces the file's as a whole, and the log says so", () => {
  using place = new Place();
  const file = { accounts: { default: { ...SUPPORT, robotCode: "robot2", enabled: false } } };
  const { config, notes } = place.load({ ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", file) });
  expect(config.accounts).toEqual([
    { name: "main", appKey: APP_KEY, appSecret: APP_SECRET, robotCode: APP_KEY, enabled: true, reply: config.reply },
  ]);
  expect(notes).toContain(`account main of ${place.dir}/c.json5 is ignored: the environment has it too`);
});

test("a robot code in the environment belongs to main, wherever main comes from", () => {
  using place = new Place();
  const BRIDGE_CONFIG = place.write("c.json5", { accounts: { main: SUPPORT } });
  const [main] = place.load({ BRIDGE_CONFIG, DINGTALK_ROBOT_CODE: "robot9" }).config.accounts;
  expect(main).toMatchObject({ appKey: SUPPORT.appKey, robotCode: "robot9" });
  const other = place.write("d.json5", { accounts: { support: SUPPORT } });
  expect(place.complaints({ BRIDGE_CONFIG: other, DINGTALK_ROBOT_CODE: "robot9" })).toEqual([
    "DINGTALK_ROBOT_CODE is set, but there is no account main that it belongs to",
  ]);
});

test.each([
  [{ main: SUPPORT, default: { appKey: "k", appSecret: "s" } }, ["account default (in ./c.json5) is there twice"]],
  [{ a: SUPPORT, b: SUPPORT }, ["accounts.b.appKey (in ./c.json5) is the App Key of account a as well"]],
  [{ Support: SUPPORT }, ["account Support (in ./c.json5) has a name that cannot be used"]],
  [{ ["a".repeat(33)]: SUPPORT }, [`account ${"a".repeat(33)} (in ./c.json5) has a name that cannot be used`]],
  [{ a: { ...SUPPORT, enabled: false } }, ["accounts (in ./c.json5) are all disabled"]],
  [{ a: { ...SUPPORT, enabled: "no" } }, ["accounts.a.enabled (in ./c.json5) is not `true` or `false`"]],
  [{ a: { ...SUPPORT, appSecret: 5 } }, ["accounts.a.appSecret (in ./c.json5) is not text"]],
  [{ a: {} }, ["accounts.a.appKey (in ./c.json5) is missing", "accounts.a.appSecret (in ./c.json5) is missing"]],
  [{ a: { ...SUPPORT, appSecrets: "x" } }, ["accounts.a.appSecrets (in ./c.json5) is not a setting"]],
])("accounts %j are refused", (accounts, complaints) => {
  using place = new Place();
  expect(place.complaints({ BRIDGE_CONFIG: place.write("c.json5", { accounts }) })).toEqual(complaints);
});

test.each([[[]], ["main"], [null], [{ main: "x" }]])("accounts that are %j are refused", (accounts) => {
  using place = new Place();
  const [first] = place.complaints({ BRIDGE_CONFIG: place.write("c.json5", { accounts }) });
  expect(first).toMatch(/^accounts(\.main)? \(in \.\/c\.json5\) is not an (object of accounts|account)$/);
});

test("a secret from a file of its own, in the environment and in the file", () => {
  using place = new Place();
  place.write("secrets/main", `${APP_SECRET}\r\n`);
  place.write("secrets/support", `${SUPPORT.appSecret}\n`);
  const file = { accounts: { support: { appKey: SUPPORT.appKey, appSecretFile: "secrets/support" } } };
  const { accounts } = place.load({
    DINGTALK_APP_KEY: APP_KEY,
    DINGTALK_APP_SECRET_FILE: "./secrets/main",
    BRIDGE_CONFIG: place.write("c.json5", file),
  }).config;
  expect(accounts.map(({ appSecret }) => appSecret)).toEqual([APP_SECRET, SUPPORT.appSecret]);
});

test("a secret file that cannot be used", () => {
  using place = new Place();
  place.write("empty", "\n");
  place.write("large", "x".repeat(70_000));
  place.write("one", APP_SECRET);
  const complaints = (env: Record<string, string>): string[] => place.complaints({ DINGTALK_APP_KEY: APP_KEY, ...env });
  const secretFile = (path: string): string[] => complaints({ DINGTALK_APP_SECRET_FILE: path });
  expect(secretFile("./nowhere")).toEqual(['DINGTALK_APP_SECRET_FILE names a file "./nowhere" that does not exist']);
  expect(secretFile("./empty")).toEqual(['DINGTALK_APP_SECRET_FILE names a file "./empty" that is empty']);
  expect(secretFile("./large")).toEqual([
    'DINGTALK_APP_SECRET_FILE names a file "./large" that is too large for a secret',
  ]);
  expect(secretFile("./")).toEqual(['DINGTALK_APP_SECRET_FILE names a file "./" that is no file']);
  expect(secretFile("/dev/zero")).toEqual(['DINGTALK_APP_SECRET_FILE names a file "/dev/zero" that is no file']);
  // The secret itself instead of a path.
  expect(secretFile(APP_SECRET)).toEqual(["DINGTALK_APP_SECRET_FILE names a file that does not exist"]);
  expect(complaints({ DINGTALK_APP_SECRET: APP_SECRET, DINGTALK_APP_SECRET_FILE: "./one" })).toEqual([
    "DINGTALK_APP_SECRET and DINGTALK_APP_SECRET_FILE are both set",
  ]);
  const file = { accounts: { main: { appKey: APP_KEY, appSecret: APP_SECRET, appSecretFile: "./one" } } };
  expect(place.complaints({ BRIDGE_CONFIG: place.write("c.json5", file) })).toEqual([
    "accounts.main.appSecret (in ./c.json5) and accounts.main.appSecretFile (in ./c.json5) are both set",
  ]);
});

test("a secret may be any word, also one of our own", () => {
  using place = new Place();
  place.write("s", "refused");
  const env = { DINGTALK_APP_KEY: "refused", DINGTALK_APP_SECRET_FILE: "s", DINGTALK_ROBOT_CODE: "undefined" };
  expect(place.problems({ ...env, DINGTALK_APP_KEY: "refused" })).toHaveLength(1);
  expect(place.load({ ...env, DINGTALK_APP_KEY: "key" }).config.accounts[0]?.appSecret).toBe("refused");
});

test("tokens and their file", () => {
  using place = new Place();
  place.write("token", "0123456789abcdef,fedcba9876543210\n");
  expect(place.load({ ...CREDENTIALS, BRIDGE_TOKEN_FILE: "token" }).config.tokens).toEqual([
    "0123456789abcdef",
    "fedcba9876543210",
  ]);
  const BRIDGE_CONFIG = place.write("c.json5", { tokenFile: "token" });
  expect(place.load({ ...CREDENTIALS, BRIDGE_CONFIG }).config.tokens).toHaveLength(2);
  const complaint = (BRIDGE_TOKEN: string): string[] => place.complaints({ ...CREDENTIALS, BRIDGE_TOKEN });
  expect(complaint("short")).toEqual(["BRIDGE_TOKEN is shorter than 16 characters"]);
  expect(complaint("0123456789abcdef,short")).toEqual(["BRIDGE_TOKEN is shorter than 16 characters"]);
  expect(complaint("0123456789abcdef 0123456789abcdef")).toEqual([
    "BRIDGE_TOKEN has blanks, line breaks or characters other than ASCII in it",
  ]);
  expect(complaint('"0123456789abcdef"')).toEqual(["BRIDGE_TOKEN is wrapped in quotes"]);
  expect(complaint("your-shared-token")).toEqual(["BRIDGE_TOKEN is still the placeholder of an example"]);
  expect(complaint(",")).toEqual(["BRIDGE_TOKEN holds no token"]);
  expect(complaint("0123456789abcdef,1123456789abcdef,2123456789abcdef")).toEqual([
    "BRIDGE_TOKEN holds more than two tokens",
  ]);
});

test("an account's replies differ from the common ones where its section says so, wherever its credentials come from", () => {
  using place = new Place();
  const second = { appKey: "dingzzzz1234efgh5678", appSecret: "another-secret-2", reply: { cardTemplateId: "off" } };
  const accounts = { default: { reply: { format: "text" } }, second };
  const BRIDGE_CONFIG = place.write("c.json5", { reply: { format: "markdown", cardUpdates: 3 }, accounts });
  const { config } = place.load({ ...CREDENTIALS, BRIDGE_CONFIG });
  const replies = Object.fromEntries(config.accounts.map(({ name, reply }) => [name, reply]));
  expect(replies["main"]).toEqual({ ...config.reply, format: "text", cardUpdates: 3 });
  expect(replies["second"]).toEqual({ ...config.reply, format: "markdown", cardTemplateId: "off" });
});

test("a wrong word in an account's replies is named with its place", () => {
  using place = new Place();
  const accounts = { main: { reply: { format: "crad", colour: "red" } } };
  const BRIDGE_CONFIG = place.write("c.json5", { accounts });
  expect(place.complaints({ ...CREDENTIALS, BRIDGE_CONFIG })).toEqual([
    "accounts.main.reply.colour (in ./c.json5) is not a setting",
    "accounts.main.reply.format (in ./c.json5) cannot be used",
  ]);
});
