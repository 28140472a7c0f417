import type { IncomingMessage, ServerResponse } from "node:http";
import { beforeEach, describe, expect, test } from "vitest";
import { TokenError, TokenSource } from "../../src/dingtalk/token.ts";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { capturedLogger, closedPort, startCaller, startServer } from "../support/dingtalk-http.ts";

const account = { name: "main", appKey: "dingapp1", appSecret: "secret-of-app-1" };

/** A clock that stands until it is moved. */
class StillClock {
  at = 1_000_000;
  now = () => Date.now();
  monotonic = () => this.at;
}

let clock: StillClock;
beforeEach(() => {
  clock = new StillClock();
});

/** A token API that answers with what is queued, else with token-1, token-2, … of two hours. */
async function startTokenApi() {
  let asked = 0;
  const queued: { status: number; body: unknown }[] = [];
  let hold: Promise<void> | undefined;
  let answered = 0;
  const answer = async (_request: IncomingMessage, response: ServerResponse): Promise<void> => {
    answered += 1;
    const { status, body } = queued.shift() ?? {
      status: 200,
      body: { accessToken: `token-${answered}`, expireIn: 7200 },
    };
    await hold;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const server = await startServer((request, response) => void answer(request, response));
  const caller = startCaller();
  const captured = capturedLogger();
  const tokens = new TokenSource({
    account,
    apiBase: `${server.url}/`,
    call: (request) => {
      asked += 1;
      return caller.call(request);
    },
    clock,
    logger: captured.logger,
    random: () => 1,
  });
  return {
    tokens,
    next: (status: number, body: unknown) => void queued.push({ status, body }),
    holdUntil: (promise: Promise<void>) => void (hold = promise),
    asked: () => asked,
    logged: () => captured.text() + caller.logged(),
    [Symbol.asyncDispose]: async () => {
      await caller[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const failureOf = async (promise: Promise<string>) => {
  const error: unknown = await promise.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TokenError);
  return error as TokenError;
};

const minutes = (count: number): number => count * 60_000;

describe("a token", () => {
  test("is asked for once, however many need it", async () => {
    await using api = await startTokenApi();
    const all = await Promise.all(Array.from({ length: 20 }, () => api.tokens.get()));
    expect(new Set([...all, await api.tokens.get()])).toEqual(new Set(["token-1"]));
    expect(api.asked()).toBe(1);
  });

  test("is used for 115 of its 120 minutes, then renewed beside its use", async () => {
    await using api = await startTokenApi();
    await api.tokens.get();
    clock.at += minutes(115) - 1;
    expect(await api.tokens.get()).toBe("token-1");
    expect(api.asked()).toBe(1);

    clock.at += 1;
    expect(await api.tokens.get()).toBe("token-1");
    await expect.poll(() => api.tokens.get()).toBe("token-2");
    expect(api.asked()).toBe(2);
  });

  test("is used until it expires while its renewal fails", async () => {
    await using api = await startTokenApi();
    await api.tokens.get();
    clock.at += minutes(116);
    api.next(500, { code: "system.error" });
    expect(await api.tokens.get()).toBe("token-1");
    await expect.poll(api.logged).toContain('"failures":1');

    expect(await api.tokens.get()).toBe("token-1");
    expect(api.asked()).toBe(2);
    clock.at += minutes(4);
    expect(await api.tokens.get()).toBe("token-3");
  });

  test("of a short life is not renewed all the time", async () => {
    await using api = await startTokenApi();
    api.next(200, { accessToken: "short", expireIn: "60" });
    await api.tokens.get();
    clock.at += 29_999;
    expect(await api.tokens.get()).toBe("short");
    expect(api.asked()).toBe(1);
    clock.at += 30_001;
    expect(await api.tokens.get()).toBe("token-2");
  });

  test("is dropped only by its own name", async () => {
    await using api = await startTokenApi();
    await api.tokens.get();
    api.tokens.invalidate("another");
    expect(await api.tokens.get()).toBe("token-1");
    api.tokens.invalidate("token-1");
    expect(await api.tokens.get()).toBe("token-2");
    api.tokens.invalidate("token-1");
    expect(await api.tokens.get()).toBe("token-2");
    expect(api.asked()).toBe(2);
  });

  test("is not asked for without end when every fresh one is refused", async () => {
    await using api = await startTokenApi();
    for (let round = 0; round < 3; round += 1) api.tokens.invalidate(await api.tokens.get());
    expect(await failureOf(api.tokens.get())).toMatchObject({ code: "dingtalk_bad_credentials", retryAfterMs: 60_000 });
    expect(api.asked()).toBe(3);
    clock.at += 60_000;
    expect(await api.tokens.get()).toBe("token-4");
  });

  test("may be refused now and then", async () => {
    await using api = await startTokenApi();
    for (let round = 0; round < 6; round += 1) {
      api.tokens.invalidate(await api.tokens.get());
      clock.at += 31_000;
    }
    expect(await api.tokens.get()).toBe("token-7");
  });
});

describe("a caller that gives up", () => {
  test("does not end the wait of the others", async () => {
    await using api = await startTokenApi();
    const open = Promise.withResolvers<void>();
    api.holdUntil(open.promise);
    const giveUp = new AbortController();
    const impatient = api.tokens.get(giveUp.signal).catch((error: unknown) => error);
    const patient = api.tokens.get();
    giveUp.abort();
    expect(await impatient).toMatchObject({ code: "interrupted", sent: false });
    open.resolve();
    expect(await patient).toBe("token-1");
    expect(api.asked()).toBe(1);
  });

  test("before it began asks nothing", async () => {
    await using api = await startTokenApi();
    await expect(api.tokens.get(AbortSignal.abort())).rejects.toMatchObject({ code: "interrupted" });
    expect(api.asked()).toBe(0);
  });
});

describe("a failure", () => {
  const rows: [string, number, unknown, string, number][] = [
    [
      "wrong credentials",
      400,
      { code: "invalidClientIdOrSecret", message: "无效的clientId或者clientSecret" },
      "dingtalk_bad_credentials",
      60_000,
    ],
    ["authFailed", 401, { code: "authFailed", message: "鉴权失败" }, "dingtalk_bad_credentials", 60_000],
    ["any 401", 401, { code: "who.knows" }, "dingtalk_bad_credentials", 60_000],
    [
      "an address that is not on the list",
      403,
      { code: "Forbidden.AccessDenied.IpNotInWhiteList" },
      "dingtalk_ip_not_allowed",
      60_000,
    ],
    ["a throttle", 403, { code: "Forbidden.AccessDenied.QpsLimitForApi" }, "dingtalk_throttled", 2_000],
    ["a blocked address", 200, { status: 1111, wait: 5 }, "dingtalk_ip_blocked", 300_000],
    ["a server error", 500, { code: "system.error" }, "dingtalk_unavailable", 1_000],
    ["an unknown refusal", 400, { code: "Missingbody" }, "dingtalk_rejected", 1_000],
    ["no token in the answer", 200, { expireIn: 7200 }, "dingtalk_bad_answer", 1_000],
    ["no lifetime in the answer", 200, { accessToken: "a-token" }, "dingtalk_bad_answer", 1_000],
    ["an endless lifetime", 200, { accessToken: "a-token", expireIn: "Infinity" }, "dingtalk_bad_answer", 1_000],
    ["a negative lifetime", 200, { accessToken: "a-token", expireIn: -5 }, "dingtalk_bad_answer", 1_000],
  ];
  test.each(rows)("%s", async (_name, status, body, code, retryAfterMs) => {
    await using api = await startTokenApi();
    api.next(status, body);
    expect(await failureOf(api.tokens.get())).toMatchObject({ code, retryAfterMs });

    expect(await failureOf(api.tokens.get())).toMatchObject({ code });
    clock.at += retryAfterMs - 1;
    expect(await failureOf(api.tokens.get())).toMatchObject({ code, retryAfterMs: 1 });
    expect(api.asked()).toBe(1);

    clock.at += 1;
    expect(await api.tokens.get()).toBe("token-2");
    expect(api.logged()).not.toContain(account.appSecret);
    expect(api.logged()).not.toContain("a-token");
  });

  test("again and again is asked for ever more rarely, at most once a minute", async () => {
    await using api = await startTokenApi();
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      api.next(500, { code: "system.error" });
      const { retryAfterMs } = await failureOf(api.tokens.get());
      waits.push(retryAfterMs);
      clock.at += retryAfterMs;
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(await api.tokens.get()).toBe("token-10");
    expect(api.asked()).toBe(10);
  });

  test("after a success begins with short waits again", async () => {
    await using api = await startTokenApi();
    for (const status of [500, 200, 500]) {
      const body = { accessToken: "of-a-second", expireIn: 1 };
      api.next(status, body);
      const told: unknown = await api.tokens.get().catch((error: unknown) => error);
      expect(told).toEqual(status === 200 ? "of-a-second" : expect.objectContaining({ retryAfterMs: 1_000 }));
      clock.at += 1_000;
    }
  });

  test("is shared by all who wait for it", async () => {
    await using api = await startTokenApi();
    api.next(500, {});
    const told = await Promise.all(Array.from({ length: 10 }, () => failureOf(api.tokens.get())));
    expect(told.map(({ code }) => code)).toEqual(Array<string>(10).fill("dingtalk_unavailable"));
    expect(api.asked()).toBe(1);
  });

  test("of the network", async () => {
    await using caller = startCaller();
    const apiBase = `http://127.0.0.1:${await closedPort()}`;
    const tokens = new TokenSource({ account, apiBase, call: caller.call, clock, logger: caller.logger });
    expect(await failureOf(tokens.get())).toMatchObject({ code: "dingtalk_unreachable", retryable: true });
  });
});

describe("with the simulator", () => {
  test("asks once and again after the token was dropped", async () => {
    const sim = await startDingtalkSimulator({ apps: [{ appKey: account.appKey, appSecret: account.appSecret }] });
    await using caller = startCaller();
    const tokens = new TokenSource({ account, apiBase: sim.url, call: caller.call, clock, logger: caller.logger });
    const first = await tokens.get();
    sim.faults.expireTokens();
    tokens.invalidate(first);
    expect(await tokens.get()).not.toBe(first);
    expect(sim.calls({ api: "oauth2/accessToken", ok: true })).toHaveLength(2);
    expect(caller.logged()).not.toContain(first);

    const wrong = { ...account, appSecret: "another-secret" };
    const others = new TokenSource({
      account: wrong,
      apiBase: sim.url,
      call: caller.call,
      clock,
      logger: caller.logger,
    });
    expect(await failureOf(others.get())).toMatchObject({ code: "dingtalk_bad_credentials" });
    expect(caller.logged()).not.toContain("another-secret");
    await sim.close();
  });
});
