import { Agent, ProxyAgent } from "undici";
import { describe, expect, test } from "vitest";
import { CallError, createHttpCall, type HttpRequest } from "../../src/dingtalk/http.ts";
import {
  type Caller,
  capturedLogger,
  closedPort,
  startCaller,
  startServer,
  startTcpServer,
} from "../support/dingtalk-http.ts";

const failure = async ({ call }: Pick<Caller, "call">, request: Partial<HttpRequest> & { url: string }) => {
  const error: unknown = await call({ method: "POST", json: { a: 1 }, ...request }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CallError);
  const { code, sent, message } = error as CallError;
  return { code, sent, message };
};

describe("an answer", () => {
  test("has status, lower-case headers, parsed JSON and the request id", async () => {
    const seen: unknown[] = [];
    await using server = await startServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        seen.push({
          method: request.method,
          url: request.url,
          headers: request.headers,
          body: Buffer.concat(chunks).toString(),
        });
        response.writeHead(400, { "Content-Type": "application/json;charset=utf-8", "X-Acs-Request-Id": "REQ-1" });
        response.end('{"code":"x","requestid":"REQ-2"}');
      });
    });
    await using caller = startCaller();

    const answer = await caller.call({
      method: "PUT",
      url: `${server.url}/a?b=c`,
      json: { 你: "好" },
      headers: { "x-extra": "1" },
    });

    expect(answer).toMatchObject({
      status: 400,
      headers: { "content-type": "application/json;charset=utf-8" },
      body: { kind: "json", value: { code: "x", requestid: "REQ-2" } },
      requestId: "REQ-1",
    });
    expect(seen).toMatchObject([
      {
        method: "PUT",
        url: "/a?b=c",
        headers: {
          "content-type": "application/json",
          "user-agent": "dingtalk-bridge/test",
          "x-extra": "1",
          accept: "application/json",
        },
        body: '{"你":"好"}',
      },
    ]);
  });

  test.each([
    ["an HTML page", "<!DOCTYPE HTML PUBLIC>\n<html></html>", "html"],
    ["XML", "<?xml version='1.0'?><a/>", "other"],
    ["truncated JSON", '{"errcode":0,"errm', "other"],
    ["nothing", "", "other"],
    ["more than a megabyte", `"${"x".repeat(1_200_000)}"`, "incomplete"],
  ])("with %s", async (_name, body, kind) => {
    await using server = await startServer((_request, response) => response.end(body));
    await using caller = startCaller();

    expect(await caller.call({ method: "GET", url: server.url })).toMatchObject({ status: 200, body: { kind } });
  });

  test.each([
    ["is cut in the middle of its body", true],
    ["stalls in the middle of its body", false],
  ])("that %s keeps its status", async (_name, cut) => {
    await using server = await startTcpServer((socket) => {
      socket.write('HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{"code":');
      if (cut) socket.end();
    });
    await using caller = startCaller(300);

    expect(await caller.call({ method: "POST", url: server.url })).toMatchObject({
      status: 503,
      body: { kind: "incomplete" },
    });
  });
});

describe("surely not sent", () => {
  test("refused", async () => {
    await using caller = startCaller();
    const url = `http://127.0.0.1:${await closedPort()}/path?secret=1`;
    expect(await failure(caller, { url })).toMatchObject({
      code: "dingtalk_unreachable",
      sent: false,
      message: expect.stringMatching(/^POST 127\.0\.0\.1:\d+\/path: no connection \(ECONNREFUSED\)$/),
    });
  });

  test("a name that does not resolve", async () => {
    await using caller = startCaller();
    expect(await failure(caller, { url: "http://nowhere.invalid/" })).toMatchObject({
      code: "dingtalk_unreachable",
      sent: false,
    });
  });

  test("TLS with a server that does not speak it", async () => {
    await using server = await startServer((_request, response) => response.end("{}"));
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url.replace("http:", "https:") })).toMatchObject({
      code: "dingtalk_unreachable",
      sent: false,
    });
  });

  test("a TLS handshake that does not end in time", async () => {
    await using server = await startTcpServer(() => undefined);
    await using caller = startCaller(100);
    expect(await failure(caller, { url: server.url.replace("http:", "https:") })).toMatchObject({
      code: "dingtalk_unreachable",
      sent: false,
      message: expect.stringContaining("no connection within 100 ms"),
    });
  });

  test("a proxy that refuses the tunnel", async () => {
    await using server = await startTcpServer((socket) =>
      socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    );
    const dispatcher = new ProxyAgent({ uri: server.url });
    const call = createHttpCall({ dispatcher, logger: capturedLogger().logger, userAgent: "test", timeoutMs: 5_000 });
    expect(await failure({ call }, { url: "https://api.dingtalk.com/v1.0" })).toMatchObject({
      code: "dingtalk_unreachable",
      sent: false,
    });
    await dispatcher.destroy();
  });

  test("given up before and while connecting", async () => {
    let arrived = 0;
    await using server = await startServer(() => void (arrived += 1));
    await using stuck = await startTcpServer(() => undefined);
    await using caller = startCaller();

    const early = await failure(caller, { url: server.url, signal: AbortSignal.abort() });
    const giveUp = new AbortController();
    const connecting = failure(caller, { url: stuck.url.replace("http:", "https:"), signal: giveUp.signal });
    giveUp.abort();

    expect(early).toMatchObject({ code: "interrupted", sent: false });
    expect(await connecting).toMatchObject({ code: "interrupted", sent: false });
    expect(arrived).toBe(0);
  });

  test("waiting for a connection behind another request", async () => {
    const arrived: string[] = [];
    await using server = await startServer((request) => void arrived.push(request.url ?? ""));
    const dispatcher = new Agent({ connections: 1, allowH2: false });
    const call = createHttpCall({ dispatcher, logger: capturedLogger().logger, userAgent: "test", timeoutMs: 300 });

    const [first, second] = await Promise.all([
      failure({ call }, { url: `${server.url}/first` }),
      failure({ call }, { url: `${server.url}/second`, timeoutMs: 150 }),
    ]);

    expect(first).toMatchObject({ code: "dingtalk_timeout", sent: true });
    expect(second).toMatchObject({ code: "dingtalk_unreachable", sent: false });
    await dispatcher.destroy();
    expect(arrived).toEqual(["/first"]);
  });

  test("with a closed dispatcher", async () => {
    const caller = startCaller();
    await caller.agent.close();
    expect(await failure(caller, { url: "http://127.0.0.1:1/" })).toMatchObject({ code: "stopping", sent: false });
  });

  test("not a URL, which is not repeated", async () => {
    await using caller = startCaller();
    const told = await failure(caller, { url: "http//oapi?session=hidden" });
    expect(told).toMatchObject({ code: "internal", sent: false });
    expect(told.message + caller.logged()).not.toContain("hidden");
  });
});

describe("sent, without an answer", () => {
  test("the connection is reset", async () => {
    await using server = await startTcpServer((socket) => socket.resetAndDestroy());
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url })).toMatchObject({ code: "dingtalk_unavailable", sent: true });
  });

  test("the connection is closed", async () => {
    await using server = await startTcpServer((socket) => socket.end());
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url })).toMatchObject({ code: "dingtalk_unavailable", sent: true });
  });

  test("no headers in time", async () => {
    await using server = await startServer(() => undefined);
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url, timeoutMs: 100 })).toMatchObject({
      code: "dingtalk_timeout",
      sent: true,
    });
  });

  test("not HTTP", async () => {
    await using server = await startTcpServer((socket) => socket.end("SSH-2.0-x\r\n\r\n"));
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url })).toMatchObject({ code: "dingtalk_bad_answer", sent: true });
  });

  test("given up", async () => {
    const giveUp = new AbortController();
    await using server = await startServer(() => giveUp.abort());
    await using caller = startCaller();
    expect(await failure(caller, { url: server.url, signal: giveUp.signal })).toMatchObject({
      code: "interrupted",
      sent: true,
    });
  });

  test("the bridge stops", async () => {
    const arrived = Promise.withResolvers<void>();
    await using server = await startServer(() => arrived.resolve());
    const caller = startCaller();
    const told = failure(caller, { url: server.url });
    await arrived.promise;
    await caller.agent.destroy();
    expect(await told).toMatchObject({ code: "stopping", sent: true });
  });
});
