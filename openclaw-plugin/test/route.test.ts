import { once } from "node:events";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Delivery, Hub } from "../src/hub.ts";
import { Mailbox } from "../src/mailbox.ts";
import { createRoute } from "../src/route.ts";
import { deriveToken } from "../src/token.ts";

const MAIN = deriveToken("dingmain", "main-secret");
const SECOND = deriveToken("dingsecond", "second-secret");
const config = {
  channels: {
    dingtalk: {
      appKey: "dingmain",
      appSecret: "main-secret",
      accounts: {
        second: { appKey: "dingsecond", appSecret: "second-secret", dmPolicy: "pairing" },
        off: { appKey: "dingoff", appSecret: "off-secret", enabled: false },
      },
    },
  },
};

let server: Server;
let hub: Hub;
let mailbox: Mailbox<Delivery>;
let deliveries: Delivery[];

beforeEach(async () => {
  hub = new Hub();
  mailbox = new Mailbox();
  deliveries = [];
  hub.open("default", mailbox);
  void (async () => {
    for await (const delivery of mailbox) deliveries.push(delivery);
  })();
  const route = createRoute({
    hub,
    config: () => config,
    env: {},
    name: "plugin",
    version: "1.0.0",
    host: "openclaw/1",
    answerWithinMs: 50,
  });
  server = createServer((req, res) => void route(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  hub.close("default", mailbox);
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

const envelope = (id: string, account = "main"): object => ({
  version: 1,
  id,
  type: "message",
  account,
  message: {
    id,
    sentAt: "2026-11-22T07:00:00.000Z",
    conversation: { kind: "direct", id: "cidDirect" },
    sender: { id: "staff001", name: "张三" },
    mentioned: true,
    text: "hi",
    parts: [],
  },
  reply: { to: "user:staff001", inReplyTo: id },
});

async function call(method: string, token: string, body?: object | string, headers: Record<string, string> = {}) {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/dingtalk/events`;
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    retryAfter: response.headers.get("retry-after"),
    body: (await response.json()) as Record<string, unknown>,
  };
}
const post = (body: object | string, token = MAIN) => call("POST", token, body);

/** The next envelope that reached the loop. */
async function next(count: number): Promise<Delivery> {
  await expect.poll(() => deliveries.length).toBe(count);
  return deliveries[count - 1]!;
}

describe("the handshake", () => {
  test("names the accounts that the token speaks for, and no other", async () => {
    const { status, body } = await call("GET", MAIN);
    expect(status).toBe(200);
    expect(body).toEqual({
      contract: 1,
      name: "plugin",
      version: "1.0.0",
      host: "openclaw/1",
      accounts: [{ id: "main", appKey: "dingmain", enabled: true, dmPolicy: "open" }],
    });
    expect((await call("GET", SECOND)).body).toMatchObject({ accounts: [{ id: "second", dmPolicy: "pairing" }] });
  });

  test("a disabled account is named as such", async () => {
    const { body } = await call("GET", deriveToken("dingoff", "off-secret"));
    expect(body).toMatchObject({ accounts: [{ id: "off", enabled: false }] });
  });

  test.for(["", "nonsense", MAIN.slice(0, -1), `${MAIN}x`])("%j is refused", async (token) => {
    const { status, type, body } = await call("GET", token);
    expect([status, type, body["code"]]).toEqual([401, "application/problem+json; charset=utf-8", "unauthorized"]);
  });
});

describe("what is not taken", () => {
  test.for([
    ["2", 400],
    ["nonsense", 400],
    ["1", 200],
    ["1.3", 200],
  ] as const)("an envelope under contract %j is answered %j", async ([contract, status]) => {
    const body = { ...envelope("c"), type: "event" };
    const answer = await call("POST", MAIN, body, { "x-bridge-contract": contract });
    expect(answer.status).toBe(status);
    if (status === 400) {
      expect(answer.body["code"]).toBe("unsupported_version");
      expect(answer.body["detail"]).toMatch(/contract ".+", this plugin 1; .*(?:install|update)/);
    }
    expect((await call("GET", MAIN, undefined, { "x-bridge-contract": contract })).status).toBe(200);
  });

  test.for([
    ["no JSON", "{", 400, "invalid_envelope"],
    ["a list", "[]", 400, "invalid_envelope"],
    ["another version", { ...envelope("a"), version: 2 }, 400, "unsupported_version"],
    ["no message", { ...envelope("a"), message: undefined }, 400, "invalid_envelope"],
    ["no target", { ...envelope("a"), reply: {} }, 400, "invalid_envelope"],
    ["an unknown account", envelope("a", "nobody"), 422, "account_unknown"],
    ["another's account", envelope("a", "second"), 403, "account_forbidden"],
    ["too much", "x".repeat(1024 * 1024 + 1), 413, "invalid_envelope"],
  ] as const)("%s", async ([, body, status, code]) => {
    const answer = await post(body);
    expect([answer.status, answer.body["code"], answer.type]).toEqual([
      status,
      code,
      expect.stringContaining("problem+json"),
    ]);
    expect(deliveries).toEqual([]);
  });

  test("a disabled account", async () => {
    const { status, body } = await post(envelope("a", "off"), deriveToken("dingoff", "off-secret"));
    expect([status, body["code"]]).toEqual([422, "account_disabled"]);
  });

  test("an account that does not run yet: the bridge tries again", async () => {
    const { status, retryAfter } = await post(envelope("a", "second"), SECOND);
    expect([status, retryAfter]).toEqual([503, "2"]);
  });
});

describe("a message", () => {
  test("is answered when OpenClaw owns the turn, and a repeat at once", async () => {
    const first = post(envelope("a"));
    (await next(1)).entry.note({ kind: "taken", decision: { decision: "accepted" } });

    expect(await first).toMatchObject({ status: 200, body: { decision: "accepted" } });
    expect(await post(envelope("a"))).toMatchObject({ status: 409, body: { decision: "accepted" } });
    expect(deliveries).toHaveLength(1);
  });

  test("that waits is held until OpenClaw owns it, and dispatched once", async () => {
    const first = post(envelope("a"));
    const { entry } = await next(1);
    entry.note({ kind: "deferred" });

    expect(await first).toMatchObject({ status: 202, retryAfter: "2" });
    expect(await post(envelope("a"))).toMatchObject({ status: 202 });
    entry.note({ kind: "taken", decision: { decision: "accepted" } });
    expect(await post(envelope("a"))).toMatchObject({ status: 200, body: { decision: "accepted" } });
    expect(await post(envelope("a"))).toMatchObject({ status: 409 });
    expect(deliveries).toHaveLength(1);
  });

  test("that OpenClaw has said nothing about in time is held, and dispatched once", async () => {
    expect(await post(envelope("a"))).toMatchObject({ status: 202 });
    expect(await post(envelope("a"))).toMatchObject({ status: 202 });
    expect(deliveries).toHaveLength(1);
  });

  test("that failed may come again", async () => {
    const first = post(envelope("a"));
    (await next(1)).entry.note({ kind: "failed", reason: "no" });
    expect(await first).toMatchObject({ status: 503, retryAfter: "2", body: { detail: "no" } });

    const second = post(envelope("a"));
    (await next(2)).entry.note({ kind: "taken", decision: { decision: "accepted" } });
    expect(await second).toMatchObject({ status: 200 });
  });

  test("that waited and was given up may come again", async () => {
    const first = post(envelope("a"));
    const { entry } = await next(1);
    entry.note({ kind: "deferred" });
    await first;
    entry.note({ kind: "failed", reason: "abandoned" });

    await post(envelope("a"));
    expect(deliveries).toHaveLength(2);
  });

  test("carries the reason why nothing will come", async () => {
    const first = post(envelope("a"));
    const decision = { decision: "denied", reason: "denied: dm_policy_not_allowlisted" } as const;
    (await next(1)).entry.note({ kind: "taken", decision });
    expect(await first).toMatchObject({ status: 200, body: decision });
  });

  test("that waits in a channel that stops goes back to the bridge", async () => {
    const stopped = new Mailbox<Delivery>();
    hub.open("default", stopped);
    const waiting = post(envelope("a"));
    await expect.poll(() => hub.ledger.open("a")).toBeDefined();
    hub.close("default", stopped);
    expect(await waiting).toMatchObject({ status: 503 });
  });

  test("card actions and events have no effect", async () => {
    const { status, body } = await post({ version: 1, id: "e", type: "event", account: "main", event: {} });
    expect([status, body["decision"]]).toEqual([200, "skipped"]);
    expect(deliveries).toEqual([]);
  });
});
