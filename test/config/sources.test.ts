import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { listSettings } from "../../src/config-schema.ts";
import { CREDENTIALS, Place, at, nested } from "./support.ts";

/** For every setting: two texts that differ from the default and from each other, and what comes of them. */
const OTHER: Record<string, [text: string, value: unknown][]> = {
  token: [
    ["0123456789abcdef", ["0123456789abcdef"]],
    ["fedcba9876543210 , 0123456789abcdef", ["fedcba9876543210", "0123456789abcdef"]],
  ],
  "gateway.url": [
    ["http://10.0.0.5:1/base/", "http://10.0.0.5:1/base"],
    ["wss://gateway.example", "https://gateway.example"],
  ],
  "gateway.eventsPath": [
    ["/in", "/in"],
    ["/other/path", "/other/path"],
  ],
  "gateway.timeoutMs": [
    ["5s", 5_000],
    ["7000", 7_000],
  ],
  "gateway.concurrency": [
    ["1", 1],
    ["2", 2],
  ],
  "gateway.includeRaw": [
    ["true", true],
    ["on", true],
  ],
  "inbound.maxAgeMs": [
    ["1h", 3_600_000],
    ["2h", 7_200_000],
  ],
  "delivery.concurrency": [
    ["1", 1],
    ["2", 2],
  ],
  "delivery.onUncertain": [
    ["hold", "hold"],
    ["HOLD", "hold"],
  ],
  "delivery.maxAgeMs": [
    ["1h", 3_600_000],
    ["2d", 172_800_000],
  ],
  "delivery.webhookMarginMs": [
    ["0ms", 0],
    ["90s", 90_000],
  ],
  "quota.plan": [
    ["professional", "professional"],
    ["PROFESSIONAL", "professional"],
  ],
  "quota.calls": [
    ["10000", 10_000],
    ["20000", 20_000],
  ],
  "quota.units": [
    ["5000", 5_000],
    ["6000", 6_000],
  ],
  "limits.apiPerSecond": [
    ["5", 5],
    ["6", 6],
  ],
  "limits.cardPerSecond": [
    ["5", 5],
    ["6", 6],
  ],
  "limits.openPerLane": [
    ["5", 5],
    ["6", 6],
  ],
  "limits.openTotal": [
    ["5", 5],
    ["6", 6],
  ],
  "notices.fileRefused": [
    ["false", false],
    ["off", false],
  ],
  "media.maxMb": [
    ["5", 5],
    ["6", 6],
  ],
  "media.maxTotalMb": [
    ["5", 5],
    ["6", 6],
  ],
  "retention.messagesMs": [
    ["0ms", 0],
    ["1h", 3_600_000],
  ],
  "retention.mediaMs": [
    ["1d", 86_400_000],
    ["2d", 172_800_000],
  ],
  "notices.interrupted": [
    ["false", false],
    ["off", false],
  ],
  "reply.format": [
    ["markdown", "markdown"],
    ["TEXT", "text"],
  ],
  "reply.direct": [
    ["card", "card"],
    ["text", "text"],
  ],
  "reply.group": [
    ["markdown", "markdown"],
    ["auto", "auto"],
  ],
  "reply.cardTemplateId": [
    ["off", "off"],
    ["0f1e2d3c.schema", "0f1e2d3c.schema"],
  ],
  "reply.cardTemplateKey": [
    ["content", "content"],
    ["answer", "answer"],
  ],
  "reply.cardCharacters": [
    ["1000", 1_000],
    ["2000", 2_000],
  ],
  "reply.cardUpdates": [
    ["3", 3],
    ["50", 50],
  ],
  "reply.cardIntervalMs": [
    ["2s", 2_000],
    ["500ms", 500],
  ],
  "reply.cardMaxIntervalMs": [
    ["20s", 20_000],
    ["1m", 60_000],
  ],
  "reply.idleTimeoutMs": [
    ["1m", 60_000],
    ["5s", 5_000],
  ],
  "reply.indicator": [
    ["off", "off"],
    ["always", "always"],
  ],
  "reply.indicatorAfterMs": [
    ["1s", 1_000],
    ["2s", 2_000],
  ],
  "reply.indicatorText": [
    ["👀", "👀"],
    ["🤔Thinking", "🤔Thinking"],
  ],
  "server.host": [
    ["0.0.0.0", "0.0.0.0"],
    ["::1", "::1"],
  ],
  "server.publicUrl": [
    ["http://bridge:8790/", "http://bridge:8790"],
    ["https://bridge.example/dingtalk", "https://bridge.example/dingtalk"],
  ],
  "server.port": [
    ["0", 0],
    ["65535", 65_535],
  ],
  "dingtalk.apiBase": [
    ["https://api.example.com/", "https://api.example.com"],
    ["http://127.0.0.1:9", "http://127.0.0.1:9"],
  ],
  "dingtalk.oapiBase": [
    ["https://oapi.example.com", "https://oapi.example.com"],
    ["http://sandbox:9", "http://sandbox:9"],
  ],
  "proxy.https": [
    ["http://user:pass@proxy.example:3128", "http://user:pass@proxy.example:3128"],
    ["127.0.0.1:7890", "http://127.0.0.1:7890"],
  ],
  "proxy.no": [
    ["localhost", "localhost"],
    [".example.com", ".example.com"],
  ],
  language: [
    ["en", "en"],
    ["EN", "en"],
  ],
  "inbound.stopWords": [
    ["停, stop", ["停", "stop"]],
    ["/cancel", ["/cancel"]],
  ],
  "limits.conversationPerSecond": [
    ["1", 1],
    ["50", 50],
  ],
  "limits.groupPerMinute": [
    ["1", 1],
    ["50", 50],
  ],
  "limits.perPersonPerDay": [
    ["1", 1],
    ["50", 50],
  ],
  "limits.exempt": [
    ["staff001", ["staff001"]],
    ["a,b", ["a", "b"]],
  ],
  "notices.away": [
    ["false", false],
    ["off", false],
  ],
  "notices.awayAfterMs": [
    ["5s", 5_000],
    ["2m", 120_000],
  ],
  "notices.waiting": [
    ["false", false],
    ["off", false],
  ],
  "notices.givenUp": [
    ["false", false],
    ["off", false],
  ],
  "notices.quotaUsedUp": [
    ["false", false],
    ["off", false],
  ],
  "notices.personLimit": [
    ["false", false],
    ["off", false],
  ],
  "alerts.to": [
    ["user:staff001", ["user:staff001"]],
    ["user:staff001, conversation:cidA==", ["user:staff001", "conversation:cidA=="]],
  ],
  ...Object.fromEntries(
    ["credentials", "gatewayAway", "deadLetter", "quota", "secondConsumer"].map((kind) => [
      `alerts.${kind}`,
      [
        ["false", false],
        ["off", false],
      ],
    ]),
  ),
  "alerts.gatewayAwayAfterMs": [
    ["1m", 60_000],
    ["2m", 120_000],
  ],
  "disk.minFreeMb": [
    ["0", 0],
    ["500", 500],
  ],
  "log.level": [
    ["debug", "debug"],
    ["WARN", "warn"],
  ],
  "log.format": [
    ["pretty", "pretty"],
    ["PRETTY", "pretty"],
  ],
  "retention.settledMs": [
    ["1d", 86_400_000],
    ["2d", 172_800_000],
  ],
  "retention.deadMs": [
    ["1d", 86_400_000],
    ["2d", 172_800_000],
  ],
  "retention.conversationsMs": [
    ["1d", 86_400_000],
    ["2d", 172_800_000],
  ],
  "metrics.public": [
    ["true", true],
    ["yes", true],
  ],
  "shutdown.deadlineMs": [
    ["1s", 1_000],
    ["100", 100],
  ],
};

const settings = listSettings()
  .filter(({ path }) => path !== "dataDir")
  .map(({ path, setting }) => {
    const [first, second] = OTHER[path] ?? [];
    if (first === undefined || second === undefined) throw new Error(`no other values for ${path}`);
    return { path, setting, first, second, where: path === "token" ? "tokens" : path };
  });

const REPLY_DEFAULTS = {
  format: "auto",
  direct: "inherit",
  group: "inherit",
  cardTemplateId: "auto",
  cardTemplateKey: "auto",
  cardCharacters: 3_000,
  cardUpdates: 0,
  cardIntervalMs: 1_000,
  cardMaxIntervalMs: 8_000,
  idleTimeoutMs: 600_000,
  indicator: "auto",
  indicatorAfterMs: 4_000,
  indicatorText: "🤔思考中",
};

test("the defaults", () => {
  using place = new Place();
  const { config, notes } = place.load(CREDENTIALS);
  expect(config).toEqual({
    accounts: [
      {
        name: "main",
        appKey: CREDENTIALS.DINGTALK_APP_KEY,
        appSecret: CREDENTIALS.DINGTALK_APP_SECRET,
        robotCode: CREDENTIALS.DINGTALK_APP_KEY,
        enabled: true,
        reply: REPLY_DEFAULTS,
      },
    ],
    tokens: [],
    gateway: {
      url: "http://127.0.0.1:18789",
      eventsPath: "/dingtalk/events",
      timeoutMs: 30_000,
      concurrency: 32,
      includeRaw: false,
    },
    language: "zh-CN",
    inbound: { maxAgeMs: 43_200_000, stopWords: ["/stop"] },
    delivery: { concurrency: 64, onUncertain: "retry", maxAgeMs: 21_600_000, webhookMarginMs: 60_000 },
    reply: REPLY_DEFAULTS,
    quota: { plan: "standard", calls: 0, units: 0 },
    limits: {
      apiPerSecond: 20,
      conversationPerSecond: 5,
      groupPerMinute: 20,
      perPersonPerDay: 0,
      exempt: [],
      cardPerSecond: 15,
      openPerLane: 1_000,
      openTotal: 100_000,
    },
    notices: {
      away: true,
      awayAfterMs: 60_000,
      waiting: true,
      givenUp: true,
      quotaUsedUp: true,
      personLimit: true,
      fileRefused: true,
      interrupted: true,
    },
    alerts: {
      to: [],
      credentials: true,
      gatewayAway: true,
      gatewayAwayAfterMs: 300_000,
      deadLetter: true,
      quota: true,
      secondConsumer: true,
    },
    server: { host: "127.0.0.1", port: 8790, publicUrl: undefined },
    dataDir: join(place.dir, "data"),
    dingtalk: { apiBase: "https://api.dingtalk.com", oapiBase: "https://oapi.dingtalk.com" },
    proxy: { https: undefined, no: undefined },
    disk: { minFreeMb: 200 },
    media: { maxMb: 20, maxTotalMb: 2_048 },
    log: { level: "info", format: "json" },
    retention: {
      messagesMs: 604_800_000,
      settledMs: 604_800_000,
      deadMs: 2_592_000_000,
      conversationsMs: 15_552_000_000,
      mediaMs: 604_800_000,
    },
    metrics: { public: false },
    shutdown: { deadlineMs: 25_000 },
  });
  expect(notes).toEqual([]);
});

test("the result is frozen through and through", () => {
  using place = new Place();
  const { config } = place.load(CREDENTIALS);
  for (const part of [config, config.accounts, config.accounts[0], config.tokens, config.gateway, config.log]) {
    expect(Object.isFrozen(part)).toBe(true);
  }
});

describe.each(settings)("$path", ({ path, setting, first, second, where }) => {
  test("differs from its default when its variable says so, under each name", () => {
    using place = new Place();
    const before = at(place.load(CREDENTIALS).config, where);
    for (const name of [setting.env, ...(setting.aliases ?? [])]) {
      const after = at(place.load({ ...CREDENTIALS, [name]: ` ${first[0]} ` }).config, where);
      expect(after).toEqual(first[1]);
      expect(after).not.toEqual(before);
    }
  });

  test("differs when the file says so, and the environment goes before the file", () => {
    using place = new Place();
    const typed = /count|switch/.test(setting.format) ? first[1] : first[0];
    const env = { ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", nested(path, typed)) };
    expect(at(place.load(env).config, where)).toEqual(first[1]);
    expect(at(place.load({ ...env, [setting.env]: second[0] }).config, where)).toEqual(second[1]);
  });

  test("empty counts as unset", () => {
    using place = new Place();
    const before = at(place.load(CREDENTIALS).config, where);
    expect(at(place.load({ ...CREDENTIALS, [setting.env]: " " }).config, where)).toEqual(before);
  });

  test("a wrong type in the file is a problem that names path and file", () => {
    using place = new Place();
    const lists = /list|targets/.test(setting.format) ? [[1], [["x"]]] : [[], ["x"]];
    for (const value of [null, ...lists, {}, { a: { b: 1 } }, -1, 0.5]) {
      const env = { ...CREDENTIALS, BRIDGE_CONFIG: place.write("c.json5", nested(path, value)) };
      expect(place.problems(env)).toEqual([expect.objectContaining({ setting: `${path} (in ${place.dir}/c.json5)` })]);
    }
  });
});

test("flags go before the environment, the environment before the file", () => {
  using place = new Place();
  const file = { server: { port: 1001 }, dataDir: "from-file" };
  const env = {
    ...CREDENTIALS,
    BRIDGE_CONFIG: place.write("env.json5", file),
    BRIDGE_PORT: "1002",
    BRIDGE_DATA_DIR: "from-env",
  };
  const withFlags = place.load(env, { port: "1003", dataDir: "from-flag" }).config;
  expect(withFlags.server.port).toBe(1003);
  expect(withFlags.dataDir).toBe(join(place.dir, "from-flag"));
  const withEnv = place.load(env).config;
  expect(withEnv.server.port).toBe(1002);
  expect(withEnv.dataDir).toBe(join(place.dir, "from-env"));
  const withFile = place.load({ ...env, BRIDGE_PORT: undefined, BRIDGE_DATA_DIR: "" }).config;
  expect(withFile.server.port).toBe(1001);
  expect(withFile.dataDir).toBe(join(place.dir, "from-file"));
});

test("--config goes before BRIDGE_CONFIG, and both may begin with ~/", () => {
  using place = new Place();
  place.write("flag.json5", { log: { level: "debug" } });
  place.write("env.json5", { log: { level: "error" } });
  const env = { ...CREDENTIALS, BRIDGE_CONFIG: "~/env.json5" };
  expect(place.load(env).config.log.level).toBe("error");
  expect(place.load(env, { config: "~/flag.json5" }).config.log.level).toBe("debug");
  expect(place.load(env, { config: "flag.json5" }).notes).toEqual([`settings read from ${place.dir}/flag.json5`]);
});

test("the first of two names wins, and the log says so", () => {
  using place = new Place();
  const { config, notes } = place.load({
    ...CREDENTIALS,
    BRIDGE_GATEWAY_URL: "http://10.0.0.1:1",
    OPENCLAW_GATEWAY_URL: "ws://10.0.0.2:2",
  });
  expect(config.gateway.url).toBe("http://10.0.0.1:1");
  expect(notes).toEqual(["BRIDGE_GATEWAY_URL is used; OPENCLAW_GATEWAY_URL differs and is ignored"]);
});

test("a misspelt variable is pointed out", () => {
  using place = new Place();
  const { notes } = place.load({
    ...CREDENTIALS,
    BRIDGE_GATEWAY_URI: "http://10.0.0.1:1",
    BRIDGE_XYZZY_QUUX_FROB: "1",
  });
  expect(notes).toEqual(["BRIDGE_GATEWAY_URI is not a setting and has no effect; BRIDGE_GATEWAY_URL is one"]);
});
