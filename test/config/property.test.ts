import fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError } from "../../src/config.ts";
import { listSettings } from "../../src/config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "../../src/config-variables.ts";
import { APP_KEY, type LoadOptions, Place, nested } from "./support.ts";

const variables = [
  ...listSettings().map(({ setting }) => setting),
  ...Object.values(ACCOUNT_FIELDS),
  ...Object.values(FILE_VARIABLES),
].flatMap(({ env, aliases = [] }) => [env, ...aliases].flatMap((name) => [name, `${name}_FILE`]));

const paths = [
  ...listSettings().map(({ path }) => path),
  "tokenFile",
  "proxy.httpsFile",
  ...["main", "default", "b"].flatMap((name) =>
    ["appKey", "appSecret", "appSecretFile", "robotCode", "enabled", "x"].map((key) => `accounts.${name}.${key}`),
  ),
];

/** Texts that some setting takes, and texts that none does. */
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "1",
    "30s",
    "true",
    "debug",
    "http://127.0.0.1:1",
    "/x",
    "file",
    "./file",
    "broken.json5",
    "oc.json",
    "~",
  ),
);
const leaf = fc.oneof(text, fc.jsonValue(), fc.double(), fc.constantFrom(NaN, Infinity, -0));
const settingsFile = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...paths), fc.string()), leaf), { maxLength: 8 })
  .map((entries) => entries.reduce((file, [path, value]) => merge(file, nested(path, value)), {} as object));
const channelFile = fc.record(
  {
    $include: fc.string(),
    channels: fc.oneof(leaf, fc.record({ $include: leaf, dingtalk: fc.oneof(leaf, channel()) }, { requiredKeys: [] })),
  },
  { requiredKeys: [] },
);

function channel(): fc.Arbitrary<object> {
  const account = { appKey: text, appSecret: leaf, clientId: text, clientSecret: leaf, enabled: leaf, $include: leaf };
  const some = fc.record(account, { requiredKeys: [] });
  const accounts = fc.dictionary(
    fc.oneof(fc.constantFrom("main", "default", "b", "$include"), fc.string()),
    fc.oneof(some, leaf),
  );
  return fc.tuple(some, fc.option(accounts)).map(([top, accounts]) => (accounts === null ? top : { ...top, accounts }));
}

function merge(a: object, b: object): object {
  const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
  const merged = new Map<string, unknown>(Object.entries(a));
  for (const [key, value] of Object.entries(b)) {
    const before = merged.get(key);
    merged.set(key, isObject(before) && isObject(value) ? merge(before, value) : value);
  }
  return Object.fromEntries(merged);
}

test("whatever the sources hold, it loads or is a ConfigError with problems to mend", () => {
  using place = new Place();
  place.write("file", "a secret that is long enough");
  place.write("broken.json5", "{");
  const env = fc.dictionary(fc.constantFrom(...variables), text, { maxKeys: 6 });
  const flags = fc.record({ config: text, dataDir: text, port: text }, { requiredKeys: [] });
  fc.assert(
    fc.property(env, flags, settingsFile, channelFile, fc.boolean(), (env, flags, ours, theirs, named) => {
      const files = { BRIDGE_CONFIG: place.write("ours.json5", ours), OPENCLAW_CONFIG: place.write("oc.json", theirs) };
      try {
        const { config } = place.load({ ...(named ? files : {}), ...env }, named ? {} : flags);
        expect(config.accounts.some(({ enabled }) => enabled)).toBe(true);
        expect(Object.isFrozen(config.server)).toBe(true);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        expect(error.problems.length).toBeGreaterThan(0);
        for (const { setting, problem, mend } of error.problems) {
          expect(setting.length * problem.length * mend.length).toBeGreaterThan(0);
        }
      }
    }),
    { numRuns: 400 },
  );
});

test("no secret is in a message or a note, wherever it stands and whatever else is wrong", () => {
  using place = new Place();
  const secret = fc
    .string({ unit: fc.constantFrom(..."QWZ789-_ \"'\n{}$,:/é".split("")), minLength: 12, maxLength: 40 })
    .map((random) => `S3${random}`);
  const names = variables.filter((name) => /SECRET|TOKEN|APP_KEY|PROXY|_FILE$|GATEWAY_URL|_BASE$|CONFIG/.test(name));
  const wrong = fc.dictionary(fc.constantFrom("BRIDGE_PORT", "LOG_LEVEL", "BRIDGE_HOST"), fc.constant("!"));
  const places = fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 });
  const inFiles = fc.subarray(
    paths.filter((path) => /File|Secret|Key|token|https|url/.test(path)),
    { maxLength: 3 },
  );
  const url = fc.constantFrom(
    (text: string) => text,
    (text: string) => `https://u:${encodeURIComponent(text)}@h.example`,
  );
  fc.assert(
    fc.property(secret, wrong, places, inFiles, url, fc.nat(60), (secret, wrong, places, inFiles, url, cut) => {
      const value = url(secret);
      const ours = inFiles.reduce((file, path) => merge(file, nested(path, value)), {} as object);
      // Cut off somewhere, the file is broken next to the secret.
      const broken = JSON.stringify({ accounts: { main: { appSecret: value } } }).slice(0, cut);
      const env: LoadOptions["env"] = {
        DINGTALK_APP_KEY: APP_KEY,
        BRIDGE_CONFIG: place.write("ours.json5", ours),
        OPENCLAW_CONFIG: place.write("oc.json", broken),
        ...wrong,
        ...Object.fromEntries(places.map((name) => [name, value])),
      };
      const said = everythingSaid(place, env);
      for (const form of [secret, secret.trim(), encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]) {
        expect(said).not.toContain(form);
      }
    }),
    { numRuns: 400 },
  );
});

function everythingSaid(place: Place, env: LoadOptions["env"]): string {
  try {
    return place.load(env).notes.join("\n");
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [error.message, error.stack, JSON.stringify(error.problems), String(error.cause)].join("\n");
  }
}
