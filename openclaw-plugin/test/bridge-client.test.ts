import { once } from "node:events";
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resolveAccount } from "../src/accounts.ts";
import { sendMessage } from "../src/bridge-client.ts";
import { BridgeRefusal } from "../src/bridge-http.ts";

type Answer = { status: number; body: object; type?: string };
interface Call {
  key: string | undefined;
  authorization: string | undefined;
  body: unknown;
}

let server: Server;
let calls: Call[];
let script: Answer[];
const lines: string[] = [];
const log = {
  info: (line: string) => lines.push(line),
  warn: (line: string) => lines.push(line),
  error: () => undefined,
};
const TAKEN: Answer = { status: 202, body: { id: "m1", duplicate: false, status: "queued" } };
const PROBLEM = "application/problem+json; charset=utf-8";

beforeEach(async () => {
  calls = [];
  lines.length = 0;
  server = createServer((req, res) => {
    void record(req).then(() => {
      const { status, body, type = "application/json" } = script.shift() ?? TAKEN;
      res.writeHead(status, { "content-type": type }).end(JSON.stringify(body));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

async function record(req: IncomingMessage): Promise<void> {
  const body = await text(req);
  const key = req.headers["idempotency-key"];
  calls.push({
    key: Array.isArray(key) ? key[0] : key,
    authorization: req.headers.authorization,
    body: body === "" ? undefined : JSON.parse(body),
  });
}

const account = () =>
  resolveAccount(
    {
      channels: {
        dingtalk: {
          appKey: "k",
          appSecret: "s",
          bridgeUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        },
      },
    },
    "default",
    {},
  );
const send = () =>
  sendMessage(
    { account: account(), userAgent: "test", log },
    {
      message: { to: "user:staff001", inReplyTo: "main:m1", content: { type: "text", text: "hi" } },
      key: "main:m1/run/0",
    },
  );

test("is repeated with the same key until the bridge has taken it", async () => {
  script = [
    { status: 503, body: {}, type: PROBLEM },
    { status: 404, body: {}, type: "text/html" },
  ];

  await expect(send()).resolves.toBe("m1");
  expect(calls.map(({ key }) => key)).toEqual(Array<string>(3).fill("main:m1/run/0"));
  expect(calls[0]).toMatchObject({
    authorization: `Bearer ${account().tokens[0]}`,
    body: { account: "main", to: "user:staff001", inReplyTo: "main:m1", content: { type: "text", text: "hi" } },
  });
  expect(lines).toEqual([expect.stringContaining("HTTP 503"), expect.stringContaining("at try 3")]);
});

test("a problem document of the bridge ends it", async () => {
  script = [{ status: 422, body: { code: "no_route", detail: "unknown" }, type: PROBLEM }];

  const error = await send().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BridgeRefusal);
  expect(error).toMatchObject({ status: 422, code: "no_route" });
  expect(calls).toHaveLength(1);
});

test("a password that somebody wrote into the address is in no line and no error", async () => {
  const settings = { appKey: "k", appSecret: "s", bridgeUrl: "http://me:word-of-mine@127.0.0.1:9" };
  const one = resolveAccount({ channels: { dingtalk: settings } }, "default", {});
  const message = { to: "user:staff001", content: { type: "text", text: "hi" } } as const;
  const error = await sendMessage(
    { account: one, userAgent: "test", log, patienceMs: 600 },
    { message, key: "main:m1/run/0" },
  ).catch(String);

  expect(lines).toEqual([expect.stringContaining("includes credentials: http://127.0.0.1:9")]);
  expect([...lines, error].join()).not.toContain("word-of-mine");
});
