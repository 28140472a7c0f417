import { describe, expect, test } from "vitest";
import { tokenLines } from "../../src/cli/token.ts";
import { grantsOf, tokenFor } from "../../src/compose-tokens.ts";
import { deriveToken } from "../../src/domain/account.ts";
import { APP_KEY, APP_SECRET, CREDENTIALS, Place } from "./support.ts";

const MAIN = { appKey: APP_KEY, appSecret: APP_SECRET };
const SUPPORT = { appKey: "dingijkl1234mnop5678", appSecret: "AAbbCCdd-1122_secret-of-support" };
const USUAL = ".openclaw/openclaw.json";
const TOKEN = "a-token-that-the-wizard-wrote";
const OTHER = "another-token-of-some-length";
const channel = (dingtalk: object, more: object = {}): object => ({ channels: { dingtalk }, ...more });

/** Notes without the directory, but the one that names the file. */
function notesOf(place: Place, env: Record<string, string> = {}, flags: { port?: string } = {}): string[] {
  const { notes } = place.load(env, flags);
  return notes.map((note) => note.replaceAll(place.dir, ".")).filter((note) => !note.startsWith("accounts read from"));
}

test("as the wizard leaves it: credentials, token, ports, all typed once", () => {
  using place = new Place();
  const main = {
    ...MAIN,
    botName: "小助手",
    bridgeUrl: "http://127.0.0.1:8791",
    bridgeToken: TOKEN,
    dmPolicy: "pairing",
  };
  place.write(USUAL, channel({ enabled: true, accounts: { main } }, { gateway: { port: 19_001, mode: "local" } }));
  const { config } = place.load({});
  expect(config.accounts).toMatchObject([{ name: "main", ...MAIN, botName: "小助手", tokens: [TOKEN] }]);
  expect(config).toMatchObject({ gateway: { url: "http://127.0.0.1:19001" }, server: { port: 8791 } });
  expect(notesOf(place)).toEqual([
    `the gateway is at http://127.0.0.1:19001, by gateway.port (in ./${USUAL})`,
    `the API is at port 8791, by channels.dingtalk.accounts.main.bridgeUrl (in ./${USUAL})`,
    `the token is that of channels.dingtalk.accounts.main.bridgeToken (in ./${USUAL})`,
  ]);
});

describe("gateway.port", () => {
  test("gives way to what the bridge was told, which is said", () => {
    using place = new Place();
    place.write(USUAL, channel(MAIN, { gateway: { port: 19_001 } }));
    const env = { BRIDGE_GATEWAY_URL: "http://10.0.0.5:18789" };
    expect(place.load(env).config.gateway.url).toBe("http://10.0.0.5:18789");
    expect(notesOf(place, env)).toEqual([`gateway.port (in ./${USUAL}) is not used: gateway.url is set elsewhere`]);
    const BRIDGE_CONFIG = place.write("c.json5", { gateway: { url: "http://10.0.0.6:18789" } });
    expect(place.load({ BRIDGE_CONFIG }).config.gateway.url).toBe("http://10.0.0.6:18789");
  });

  test.each<[string, object, string]>([
    ["a variable", { port: "${PORT}" }, "http://127.0.0.1:19002"],
    ["the usual one", { port: 18_789 }, "http://127.0.0.1:18789"],
    ["none", { bind: "loopback" }, "http://127.0.0.1:18789"],
  ])("%s", (_, gateway, url) => {
    using place = new Place();
    place.write(USUAL, channel(MAIN, { gateway }));
    expect(place.load({ PORT: "19002" }).config.gateway.url).toBe(url);
  });

  test.each<[object, string]>([
    [{ port: 19_001, tls: { enabled: true } }, "gateway.tls.enabled (in .) is on"],
    [{ mode: "remote", remote: { url: "wss://gateway.test" } }, "gateway.mode (in .) is remote"],
    [{ port: "${NOWHERE}" }, "gateway.port (in .) cannot be read by the bridge"],
    [{ port: 700_000 }, "gateway.port (in .) cannot be read by the bridge"],
  ])("%j: the bridge asks for an address, and starts", (gateway, note) => {
    using place = new Place();
    place.write(USUAL, channel(MAIN, { gateway }));
    expect(place.load({}).config.gateway.url).toBe("http://127.0.0.1:18789");
    expect(notesOf(place)).toEqual([
      `${note.replace("(in .)", `(in ./${USUAL})`)}: set BRIDGE_GATEWAY_URL to the address of the gateway`,
    ]);
  });

  test("does not count where no account comes from that file", () => {
    using place = new Place();
    place.write(USUAL, channel(MAIN, { gateway: { port: 19_001 } }));
    const env = { ...CREDENTIALS, OPENCLAW_CONFIG: USUAL };
    expect(place.load(env).config.gateway.url).toBe("http://127.0.0.1:18789");
  });
});

describe("bridgeUrl", () => {
  const port = (place: Place, env: Record<string, string> = {}, flags: { port?: string } = {}): number =>
    place.load(env, flags).config.server.port;

  test("BRIDGE_PORT and --port go before it", () => {
    using place = new Place();
    place.write(USUAL, channel({ ...MAIN, bridgeUrl: "http://localhost:8791/" }));
    expect([port(place), port(place, { BRIDGE_PORT: "8792" }), port(place, {}, { port: "8793" })]).toEqual([
      8791, 8792, 8793,
    ]);
    expect(notesOf(place, { BRIDGE_PORT: "8792" })).toEqual([
      `channels.dingtalk.bridgeUrl (in ./${USUAL}) is not used: server.port is set elsewhere`,
    ]);
  });

  test.each(["http://192.168.1.5:8791", "https://127.0.0.1:8791", "http://127.0.0.1:8791/bridge", "nonsense"])(
    "%s is no address that the bridge can take as its own",
    (bridgeUrl) => {
      using place = new Place();
      place.write(USUAL, channel({ ...MAIN, bridgeUrl }));
      expect(port(place)).toBe(8790);
      expect(notesOf(place)).toEqual([
        `channels.dingtalk.bridgeUrl (in ./${USUAL}) is no plain address of this machine: BRIDGE_HOST and BRIDGE_PORT say where the bridge listens`,
      ]);
    },
  );

  test("of several accounts has to be one; that of a disabled one does not count", () => {
    using place = new Place();
    const support = { ...SUPPORT, bridgeUrl: "http://127.0.0.1:8791" };
    place.write(USUAL, channel({ ...MAIN, accounts: { support } }));
    expect(port(place)).toBe(8790);
    expect(notesOf(place).join()).toContain("is not the same for all accounts");
    place.write(USUAL, channel({ ...MAIN, accounts: { support: { ...support, enabled: false } } }));
    expect([port(place), notesOf(place)]).toEqual([8790, []]);
    place.write(USUAL, channel({ ...MAIN, bridgeUrl: "http://127.0.0.1:8791", accounts: { support: SUPPORT } }));
    expect(port(place)).toBe(8791);
  });
});

describe("bridgeToken", () => {
  const load = (dingtalk: object, env: Record<string, string> = {}) => {
    using place = new Place();
    place.write(USUAL, channel(dingtalk));
    const { config } = place.load(env);
    const { accounts } = config;
    const sent = accounts.map((account) => tokenFor(config, account));
    return { sent, grants: grantsOf(config, accounts), lines: tokenLines(config), notes: notesOf(place, env) };
  };

  test("of one account speaks for it alone", () => {
    const derived = deriveToken(SUPPORT.appKey, SUPPORT.appSecret);
    const { sent, grants, lines } = load({ accounts: { main: { ...MAIN, bridgeToken: TOKEN }, support: SUPPORT } });
    expect(sent).toEqual([TOKEN, derived]);
    expect(grants).toEqual([
      { token: TOKEN, scope: { account: "main" } },
      { token: derived, scope: { account: "support" } },
    ]);
    expect(lines).not.toContain(TOKEN);
    expect(lines).toContain(derived);
  });

  test("at the top level speaks for all, like BRIDGE_TOKEN; two while it is being changed", () => {
    const { sent, grants } = load({ ...MAIN, bridgeToken: `${TOKEN}, ${OTHER}`, accounts: { support: SUPPORT } });
    expect(sent).toEqual([TOKEN, TOKEN]);
    expect(grants).toEqual([TOKEN, OTHER].map((token) => ({ token, scope: { account: undefined } })));
  });

  test("gives way to BRIDGE_TOKEN, and a difference is said without the secrets", () => {
    const dingtalk = { ...MAIN, bridgeToken: TOKEN };
    const { sent, notes } = load(dingtalk, { BRIDGE_TOKEN: OTHER });
    expect(sent).toEqual([OTHER]);
    expect(notes).toEqual([
      `BRIDGE_TOKEN is used; channels.dingtalk.bridgeToken (in ./${USUAL}) differs and is ignored here, but not by the plugin`,
    ]);
    expect(load(dingtalk, { BRIDGE_TOKEN: `${OTHER},${TOKEN}` }).notes.join()).not.toContain("differs");
  });

  test.each<[unknown, string]>([
    ["short", "is shorter than 16 characters"],
    ["${NOWHERE}", "refers to NOWHERE, which is not set for the bridge"],
    [{ source: "env", provider: "default", id: "X" }, "is a reference that only OpenClaw can read (SecretRef)"],
  ])("%j is refused", (bridgeToken, problem) => {
    using place = new Place();
    place.write(USUAL, channel({ ...MAIN, bridgeToken }));
    expect(place.complaints({})).toEqual([`channels.dingtalk.bridgeToken (in ./${USUAL}) ${problem}`]);
  });
});

describe("variables", () => {
  const place = (): Place => {
    const made = new Place();
    made.write(
      USUAL,
      channel({ appKey: APP_KEY, appSecret: "${SECRET}" }, { env: { vars: { SECRET: "of-the-env-block" } } }),
    );
    return made;
  };
  const secret = (one: Place, env: Record<string, string> = {}): string | undefined =>
    one.load(env).config.accounts[0]?.appSecret;

  test("come from the process, the .env beside the file, and its env.vars, in this order", () => {
    using one = place();
    expect(secret(one)).toBe("of-the-env-block");
    one.write(".openclaw/.env", "# OpenClaw's own\nSECRET='of-the-dotenv-file'\n");
    expect(secret(one)).toBe("of-the-dotenv-file");
    expect(secret(one, { SECRET: "of-the-process" })).toBe("of-the-process");
  });

  test("OPENCLAW_STATE_DIR and OPENCLAW_HOME say where the file is", () => {
    using one = new Place();
    one.write("state/openclaw.json", channel(MAIN));
    one.write("home/.openclaw/openclaw.json", channel(SUPPORT));
    const key = (env: Record<string, string>) => one.load(env).config.accounts[0]?.appKey;
    expect(key({ OPENCLAW_STATE_DIR: "state", OPENCLAW_HOME: "home" })).toBe(APP_KEY);
    expect(key({ OPENCLAW_HOME: "~/home" })).toBe(SUPPORT.appKey);
  });

  test("of the account may be half in the file and half in the environment, as for the plugin", () => {
    using one = new Place();
    one.write(USUAL, channel({ accounts: { main: { appKey: APP_KEY, botName: "b" } } }));
    const { config } = one.load({ DINGTALK_APP_SECRET: APP_SECRET });
    expect(config.accounts).toMatchObject([{ name: "main", ...MAIN, botName: "b" }]);
    one.write(USUAL, channel(MAIN));
    expect(one.load({ DINGTALK_APP_KEY: SUPPORT.appKey }).config.accounts).toMatchObject([MAIN]);
    expect(notesOf(one, { DINGTALK_APP_KEY: SUPPORT.appKey })).toEqual([
      `DINGTALK_APP_KEY differs from channels.dingtalk.appKey (in ./${USUAL}) and is ignored`,
    ]);
    expect(one.complaints({ DINGTALK_APP_KEY: APP_KEY, OPENCLAW_CONFIG: one.write("none.json", {}) })).toEqual([
      "DINGTALK_APP_SECRET is missing",
    ]);
  });
});
