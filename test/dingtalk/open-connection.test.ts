import { once } from "node:events";
import { type RequestListener, createServer } from "node:http";
import { type AddressInfo, type Server, createServer as createTcpServer } from "node:net";
import { text } from "node:stream/consumers";
import { createServer as createTlsServer } from "node:tls";
import { Agent, ProxyAgent } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BridgeError } from "../../src/domain/errors.ts";
import { type OpenConnectionOptions, openConnection } from "../../src/dingtalk/open-connection.ts";
import { endpointUrl } from "../../src/dingtalk/stream-endpoint.ts";
import { quotePeer } from "../../src/dingtalk/stream-failure.ts";

const SECRET = "s3cr3t+of/the=app";
const TICKET = "7724109a ticket/+&=";

let dispatcher: Agent;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  dispatcher = new Agent({ connect: { timeout: 2_000 } });
});

afterEach(async () => {
  await dispatcher.destroy();
  for (const close of closers.splice(0)) await close();
});

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    const closed = once(server, "close");
    server.close();
    if ("closeAllConnections" in server && typeof server.closeAllConnections === "function")
      server.closeAllConnections();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

const serve = async (listener: RequestListener): Promise<string> =>
  `http://127.0.0.1:${await listen(createServer(listener))}`;

const answering = (status: number, body: string, contentType = "application/json"): Promise<string> =>
  serve((request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": contentType }).end(body);
  });

const open = (apiBase: string, more: Partial<OpenConnectionOptions> = {}): Promise<URL> =>
  openConnection({
    apiBase,
    clientId: "dingapp1",
    clientSecret: SECRET,
    subscriptions: [{ type: "CALLBACK", topic: "/v1.0/im/bot/messages/get" }],
    userAgent: "dingtalk-bridge-node/1.2.3",
    dispatcher,
    timeoutMs: 2_000,
    ...more,
  });

async function failure(apiBase: string, more: Partial<OpenConnectionOptions> = {}): Promise<BridgeError> {
  const error = await open(apiBase, more).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: "BridgeError" });
  const bridgeError = error as BridgeError;
  for (const text of [
    bridgeError.message,
    bridgeError.mend ?? "",
    bridgeError.stack ?? "",
    String(bridgeError.cause),
  ]) {
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(TICKET);
  }
  return bridgeError;
}

describe("the call", () => {
  it("asks as the protocol wants it and puts the ticket, encoded, into the address", async () => {
    const seen = Promise.withResolvers<{
      method: string;
      path: string;
      accept: string;
      body: Record<string, unknown>;
    }>();
    const base = await serve((request, response) => {
      const { method = "", url: path = "", headers } = request;
      const answer = (body: string): void => {
        seen.resolve({ method, path, accept: headers.accept ?? "", body: JSON.parse(body) as Record<string, unknown> });
        response.end(
          JSON.stringify({ endpoint: "wss://wss-open-connection.dingtalk.com:443/connect?a=b", ticket: TICKET }),
        );
      };
      text(request).then(answer, seen.reject);
    });
    const url = await open(base);
    expect(await seen.promise).toMatchObject({
      method: "POST",
      path: "/v1.0/gateway/connections/open",
      accept: "application/json",
      body: {
        clientId: "dingapp1",
        clientSecret: SECRET,
        ua: "dingtalk-bridge-node/1.2.3",
        localIp: expect.any(String) as string,
        subscriptions: [{ type: "CALLBACK", topic: "/v1.0/im/bot/messages/get" }],
      },
    });
    expect(url.host).toBe("wss-open-connection.dingtalk.com");
    expect(url.searchParams.get("ticket")).toBe(TICKET);
    expect(url.searchParams.get("a")).toBe("b");
    expect(url.search).not.toContain("&=");
  });

  it("keeps a path of the API base", async () => {
    const path = Promise.withResolvers<string>();
    const base = await serve((request, response) => {
      path.resolve(request.url ?? "");
      response.end(JSON.stringify({ endpoint: "ws://127.0.0.1:1/connect", ticket: "t" }));
    });
    await open(`${base}/dingtalk/`);
    expect(await path.promise).toBe("/dingtalk/v1.0/gateway/connections/open");
  });
});

const HTML = "<html><body>The plain HTTP request was sent to HTTPS port. Powered by DingTalk/1.0.0</body></html>";

describe("each refusal has its own code", () => {
  it.each([
    [401, '{"code":"authFailed","message":"鉴权失败"}', "stream_bad_credentials", false, "凭证与基础信息"],
    [401, "{}", "stream_bad_credentials", false, "凭证与基础信息"],
    [400, '{"code":"authFailed"}', "stream_bad_credentials", false, "凭证与基础信息"],
    [400, '{"code":"invalidParameter","message":"x"}', "stream_refused", false, "Stream 模式"],
    [403, '{"code":"Forbidden.AccessDenied.IpNotInWhiteList"}', "dingtalk_ip_not_allowed", false, "服务器出口IP"],
    [403, '{"code":"Forbidden.AccessDenied.ApiCountLimitForOrg"}', "dingtalk_quota_exhausted", false, "资源管理"],
    [403, '{"code":"Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"}', "dingtalk_throttled", true, "Client ID"],
    [403, '{"code":"Forbidden.AccessDenied.QpmLimitForAppkeyAndApi"}', "dingtalk_throttled", true, "Client ID"],
    [429, "", "dingtalk_throttled", true, "Client ID"],
    [200, '{"status":1111,"wait":5}', "dingtalk_ip_blocked", true, "Client ID"],
    [400, HTML, "stream_bad_answer", true, "proxy"],
    [403, HTML, "stream_bad_answer", true, "5 minutes"],
    [401, HTML, "stream_bad_answer", true, "proxy"],
    [200, HTML, "stream_bad_answer", true, "proxy"],
    [200, '<?xml version="1.0"?><response/>', "stream_bad_answer", true, "proxy"],
    [401, "<error><code>authFailed</code></error>", "stream_bad_credentials", false, "凭证与基础信息"],
    [302, "", "stream_bad_answer", true, "proxy"],
    [404, '{"code":"InvalidAction.NotFound"}', "stream_bad_answer", true, "DINGTALK_API_BASE"],
    [500, "{}", "stream_unavailable", true, "by itself"],
    [503, HTML, "stream_unavailable", true, "by itself"],
    [200, "", "stream_bad_answer", true, "proxy"],
    [200, "{}", "stream_bad_answer", true, "proxy"],
    [200, "[]", "stream_bad_answer", true, "proxy"],
    [200, '{"endpoint":"wss://wss-open-connection.dingtalk.com/connect"}', "stream_bad_answer", true, "proxy"],
    [200, `{"endpoint":"","ticket":"${TICKET}"}`, "stream_bad_answer", true, "proxy"],
    [200, `{"endpoint":"wss://x.dingtalk.com/connect","ticket":"${TICKET}"`, "stream_bad_answer", true, "proxy"],
  ])("%i %s → %s", async (status, body, code, retryable, mend) => {
    const error = await failure(await answering(status, body));
    expect(error).toMatchObject({ code, retryable });
    expect(error.mend).toContain(mend);
  });

  it("quotes DingTalk's words, but never the secret it was sent", async () => {
    const error = await failure(await answering(400, JSON.stringify({ code: "bad", message: `no such ${SECRET}\n!` })));
    expect(error.message).toContain("bad: no such [redacted] !");
  });

  it("reads no more than it needs of an endless body", async () => {
    const base = await serve((request, response) => {
      request.resume();
      response.writeHead(200);
      const fill = (): void => {
        while (!response.destroyed && response.write("x".repeat(65_536))) continue;
      };
      response.on("drain", fill);
      fill();
    });
    expect(await failure(base)).toMatchObject({ code: "stream_bad_answer" });
  });
});

describe("no answer", () => {
  it("headers that never come, in the given time", async () => {
    const base = await serve((request) => void request.resume());
    expect(await failure(base, { timeoutMs: 100 })).toMatchObject({ code: "stream_timeout", retryable: true });
  });

  it("a body that trickles for ever", async () => {
    const base = await serve((request, response) => {
      request.resume();
      response.writeHead(200, { "content-type": "application/json" });
      const timer = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(timer));
    });
    expect(await failure(base, { timeoutMs: 200 })).toMatchObject({ code: "stream_timeout" });
  });

  it("a port nobody listens on", async () => {
    const server = createTcpServer();
    const port = await listen(server);
    await closers.pop()?.();
    expect(await failure(`http://127.0.0.1:${port}`)).toMatchObject({ code: "stream_unreachable", retryable: true });
  });

  it("a name that does not exist", async () => {
    const error = await failure("http://dingtalk.invalid");
    expect(error.code).toBe("stream_unreachable");
    expect(error.mend).toContain("DNS");
  });

  it("a connection that is reset", async () => {
    const port = await listen(createTcpServer((socket) => socket.once("data", () => socket.resetAndDestroy())));
    expect(await failure(`http://127.0.0.1:${port}`)).toMatchObject({ code: "stream_unreachable" });
  });

  it("something that does not speak HTTP", async () => {
    const port = await listen(
      createTcpServer((socket) => socket.on("data", () => socket.end("220 smtp.example ESMTP\r\n"))),
    );
    expect(await failure(`http://127.0.0.1:${port}`)).toMatchObject({ code: "stream_bad_answer" });
  });

  it("a proxy that wants another password", async () => {
    const proxy = createServer();
    proxy.on("connect", (_request, socket) => socket.end("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"));
    const agent = new ProxyAgent(`http://user:pa55word@127.0.0.1:${await listen(proxy)}`);
    const error = await failure("https://api.dingtalk.com", { dispatcher: agent });
    await agent.destroy();
    expect(error).toMatchObject({ code: "stream_unreachable", retryable: true });
    expect(error.message).toContain("407");
    expect(error.mend).toContain("HTTPS_PROXY");
    expect(`${error.message} ${String(error.cause)}`).not.toContain("pa55word");
  });

  it("TLS that fails names TLS", async () => {
    const tls = createTlsServer();
    tls.on("tlsClientError", () => {});
    const error = await failure(`https://127.0.0.1:${await listen(tls)}`);
    expect(error.code).toBe("stream_unreachable");
    expect(error.mend).toContain("NODE_EXTRA_CA_CERTS");
  });

  it("gives up when told to stop, before and during the call", async () => {
    const asked = Promise.withResolvers<void>();
    const base = await serve(() => asked.resolve());
    const controller = new AbortController();
    const result = failure(base, { signal: controller.signal });
    await asked.promise;
    controller.abort();
    expect((await result).code).toBe("stopping");
    expect((await failure(base, { signal: controller.signal })).code).toBe("stopping");
  });
});

describe("endpointUrl", () => {
  const from = (endpoint: string, base = "https://api.dingtalk.com") => endpointUrl(endpoint, "t", base).host;

  it.each([
    ["wss://wss-open-connection.dingtalk.com:443/connect", "https://api.dingtalk.com"],
    ["wss://wss-open-connection-union.dingtalk.com/connect", "https://api.dingtalk.com"],
    ["wss://a.dingtalk.io/connect", "https://api.dingtalk.io"],
    ["wss://ding.example.com/connect", "https://ding.example.com:8443"],
    ["ws://127.0.0.1:9999/connect", "http://127.0.0.1:8080"],
  ])("takes %s from %s", (endpoint, base) => {
    expect(from(endpoint, base)).not.toBe("");
  });

  it.each([
    "wss://dingtalk.com.evil.example/connect",
    "wss://evildingtalk.com/connect",
    "wss://169.254.169.254/latest/meta-data",
    "wss://127.0.0.1/connect",
    "ws://wss-open-connection.dingtalk.com/connect",
    "https://api.dingtalk.com/connect",
    "file:///etc/passwd",
    "wss://user:pass@api.dingtalk.com/connect",
    "wss://api.dingtalk.com@evil.example/connect",
    "connect",
  ])("refuses %s", (endpoint) => {
    expect(() => from(endpoint)).toThrow(expect.objectContaining({ code: "stream_bad_answer" }));
  });
});

describe("quotePeer", () => {
  it("gives one short line without secrets", () => {
    expect(quotePeer(`a\u001b[31m\n ${SECRET} ${encodeURIComponent(SECRET)}`, [SECRET, ""])).toBe(
      "a [31m [redacted] [redacted]",
    );
    expect(quotePeer("字".repeat(500), [], 10)).toBe(`${"字".repeat(10)}…`);
  });
});
