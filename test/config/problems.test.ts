import { expect, test } from "vitest";
import { ConfigError } from "../../src/config.ts";
import { BridgeError } from "../../src/domain/errors.ts";
import { APP_KEY, CREDENTIALS, Place, nested } from "./support.ts";

test("everything that is wrong is said at once, each with its place and a mend", () => {
  using place = new Place();
  const BRIDGE_CONFIG = place.write("c.json5", {
    gateway: { timeout: 5, concurrency: "many" },
    server: 5,
    port: 1,
    nonsense: { a: 1 },
    accounts: { main: { appKey: APP_KEY }, Bad: { appKey: "k", appSecret: "s" } },
    log: { level: "loud" },
  });
  const env = { BRIDGE_CONFIG, BRIDGE_PORT: "8790x", BRIDGE_TOKEN: "short", BRIDGE_GATEWAY_TIMEOUT: "30" };
  expect(place.complaints({ ...env, DINGTALK_API_BASE: "api.dingtalk.com" }, { port: "-1" })).toEqual([
    "gateway.timeout (in ./c.json5) is not a setting",
    "server (in ./c.json5) is not a group of settings",
    "port (in ./c.json5) is not a setting",
    "nonsense (in ./c.json5) is not a setting",
    "account Bad (in ./c.json5) has a name that cannot be used",
    "accounts.main.appSecret (in ./c.json5) is missing",
    "BRIDGE_TOKEN is shorter than 16 characters",
    "BRIDGE_GATEWAY_TIMEOUT cannot be used",
    "gateway.concurrency (in ./c.json5) cannot be used",
    "BRIDGE_PORT cannot be used",
    "--port cannot be used",
    "DINGTALK_API_BASE cannot be used",
    "log.level (in ./c.json5) cannot be used",
  ]);
});

test("the error is one of ours, and its message has every problem and mend", () => {
  using place = new Place();
  const env = { ...CREDENTIALS, BRIDGE_PORT: "99999", LOG_LEVEL: "loud" };
  const load = (): unknown => place.load(env);
  expect(load).toThrow(ConfigError);
  expect(load).toThrow(BridgeError);
  expect(load).toThrow(
    expect.objectContaining({
      code: "config_invalid",
      retryable: false,
      message: [
        "2 settings are missing or wrong:",
        "- BRIDGE_PORT cannot be used. Give a whole number from 0 to 65535.",
        "- LOG_LEVEL cannot be used. Give one of `trace`, `debug`, `info`, `warn`, `error`, `fatal`, `silent`.",
      ].join("\n"),
    }),
  );
});

test.each([
  ["gateway.timeout", "Did you mean gateway.timeoutMs?"],
  ["gateway.URL", "Did you mean gateway.url?"],
  ["port", "Did you mean server.port?"],
  ["acounts", "Did you mean accounts?"],
  ["tokenFiles", "Did you mean tokenFile?"],
  ["__proto__", "Did you mean proxy?"],
  ["constructor", "Remove it; docs/configuration.md lists all settings."],
  ["gateway.urlFile", "Remove it; docs/configuration.md lists all settings."],
])("the unknown key %s: %s", (path, mend) => {
  using place = new Place();
  const text = JSON.stringify(nested(path.replace("__proto__", "PROTO"), { a: 1 })).replace("PROTO", "__proto__");
  expect(place.problems({ ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", text) })).toEqual([
    { setting: `${path} (in ${place.dir}/c.json5)`, problem: "is not a setting", mend },
  ]);
});

test.each(["BRIDGE_GATEWAY_URL", "DINGTALK_API_BASE", "DINGTALK_OAPI_BASE"])("%s", (variable) => {
  using place = new Place();
  const complaints = (value: string): string[] => place.complaints({ ...CREDENTIALS, [variable]: value });
  for (const value of ["example.com", "ftp://example.com", "https://", "http:", "file:///etc", "/x", "https://a b"]) {
    expect(complaints(value)).toEqual([`${variable} cannot be used`]);
  }
  for (const value of ["https://user:pass@example.com", "https://user@example.com"]) {
    expect(complaints(value)).toEqual([`${variable} has credentials in it`]);
  }
  for (const value of ["https://example.com?a=1", "https://example.com/#x"]) {
    expect(complaints(value)).toEqual([`${variable} has a query or a fragment`]);
  }
});

test.each([
  ["http://api.dingtalk.com", false],
  ["http://8.8.8.8", false],
  ["http://127.0.0.1:1", true],
  ["http://localhost:1", true],
  ["http://[::1]:1", true],
  ["http://10.1.2.3", true],
  ["http://192.168.1.1:8080", true],
  ["http://[fd00::1]", true],
  ["http://sandbox:9000", true],
  ["http://dingtalk.corp.internal", true],
])("plain http for DingTalk: %s %s", (url, fine) => {
  using place = new Place();
  const env = { ...CREDENTIALS, DINGTALK_API_BASE: url };
  if (fine) expect(place.load(env).config.dingtalk.apiBase).toBe(url);
  else {
    const problem = "is a plain http URL of a public host, where the App Secret would travel readable";
    expect(place.complaints(env)).toEqual([`DINGTALK_API_BASE ${problem}`]);
  }
});

test.each([
  ["BRIDGE_PORT", ["65536", "-1", "1.5", "0x10", "1e3", "NaN", "8790 x"]],
  ["BRIDGE_GATEWAY_CONCURRENCY", ["0", "1001", "many", "99999999999999999999"]],
  ["BRIDGE_GATEWAY_TIMEOUT", ["0", "30", "1x", "1h30m", "-5s", "1.5s", "11m", "soon"]],
  ["BRIDGE_METRICS_PUBLIC", ["maybe", "2"]],
  ["BRIDGE_DELIVERY_ON_UNCERTAIN", ["drop"]],
  ["BRIDGE_HOST", ["http://x", "127.0.0.1:80", "300.1.1.1", "[::1]", "a_b", "-a"]],
  ["BRIDGE_GATEWAY_EVENTS_PATH", ["events", "/", "//x", "/a?b", "/a#b", "/a/../b", "/a b"]],
  ["HTTPS_PROXY", ["socks5://127.0.0.1:1080", "http://", "http://proxy/path", "http://proxy?x"]],
  ["BRIDGE_DATA_DIR", ["a\u0000b"]],
])("%s refuses %j", (variable, values) => {
  using place = new Place();
  for (const value of values) {
    const found = place.problems({ ...CREDENTIALS, [variable]: value }).map(({ setting }) => [value, setting]);
    expect(found).toEqual([[value, variable]]);
  }
});

test.each([
  ["", "is not valid JSON5 at line 1, column 1"],
  ["{ a: 1", "is not valid JSON5 at line 1, column 7"],
  ["[]", "holds no object"],
  ["null", "holds no object"],
])("the file %j", (text, problem) => {
  using place = new Place();
  expect(place.complaints({ ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", text) })).toEqual([
    `./c.json5 ${problem}`,
  ]);
});

test("a file that is not there, and one that is a directory; no account is asked for then", () => {
  using place = new Place();
  expect(place.complaints({ BRIDGE_CONFIG: "./none.json5" })).toEqual([
    'BRIDGE_CONFIG names a file "./none.json5" that does not exist',
  ]);
  expect(place.complaints({}, { config: place.dir })).toEqual(['--config names a file "." that is a directory']);
});

test("any address may be listened on without a token: derived ones protect it", () => {
  using place = new Place();
  expect(place.load({ ...CREDENTIALS, BRIDGE_HOST: "0.0.0.0" }).config).toMatchObject({
    tokens: [],
    server: { host: "0.0.0.0" },
  });
});

test.each([["staff001"], ["user:"], ["conversation:user:staff001"], ["user:a, b"]])(
  "alerts.to: %s names nobody that a message could go to",
  (BRIDGE_ALERTS_TO) => {
    using place = new Place();
    expect(place.complaints({ ...CREDENTIALS, BRIDGE_ALERTS_TO })).toEqual([
      "BRIDGE_ALERTS_TO names somebody in another form",
    ]);
  },
);
